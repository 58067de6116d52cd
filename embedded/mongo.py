"""A server on 127.0.0.1 that speaks MongoDB's protocol: mongo-java-server, which keeps everything in memory.

No mongod can be installed by a package manager of ours. It stores documents byte for byte and has all kinds of indexes;
it has no sessions, snapshots, capped collections, users, and forgets the options of collections and what it stored when
it ends. It needs Java and, for the first start on a machine, Maven.
"""

import fcntl
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from embedded.binaries import cache_directory
from embedded.daemon import Daemon
from embedded.errors import EmbeddedError
from embedded.processes import LOOPBACK, last_lines

VERSION = "1.47.0"
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
# Its jar has a main class for one fixed port only. BeanShell runs the one line of Java that takes another, without a
# compiler: a JRE is enough.
POM = f"""\
<project>
  <modelVersion>4.0.0</modelVersion><groupId>embedded</groupId><artifactId>mongo</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>de.bwaldvogel</groupId><artifactId>mongo-java-server-memory-backend</artifactId>
      <version>{VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.apache-extras.beanshell</groupId><artifactId>bsh</artifactId><version>2.0b6</version>
    </dependency>
  </dependencies>
</project>
"""
MAIN = """\
import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
new MongoServer(new MemoryBackend()).bind("127.0.0.1", Integer.parseInt(bsh.args[0]));
"""


class MongoServer(Daemon):
    """Its data ends with it. No password: it listens on 127.0.0.1 only."""

    name: ClassVar[str] = "mongo-java-server"

    def command(self, port: int) -> Sequence[str]:
        home = _installed()
        # its $sample sorts by chance, which the newer way of sorting takes for an error
        options = ["-Djava.util.Arrays.useLegacyMergeSort=true", "-XX:+UseSerialGC", "-Xmx1g"]
        java = [_program("java", "default-jre-headless"), *options]
        return [*java, "-cp", str(home / "lib" / "*"), "bsh.Interpreter", str(home / "main.bsh"), str(port)]

    @property
    def uri(self) -> str:
        return f"mongodb://{LOOPBACK}:{self.port}/"


def missing() -> str:
    """What this machine lacks to run it, in a sentence; empty when nothing. For those who go on without."""
    try:
        _program("java", "default-jre-headless")
        if not _home().exists():
            _program("mvn", "maven")
    except EmbeddedError as error:
        return str(error).replace("\n", " ")
    return ""


def _home() -> Path:
    return cache_directory() / f"mongo-java-server-{VERSION}"


def _installed() -> Path:
    """The directory with its jars, which the first call on a machine fills; about half a minute."""
    home = _home()
    home.parent.mkdir(parents=True, exist_ok=True)
    with home.with_name(f".{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():  # else another process has done it while we waited
            _install(home)
    return home


def _install(home: Path) -> None:
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=".build-") as directory:
        new = Path(directory) / "new"
        new.mkdir()
        (new / "pom.xml").write_text(POM)
        (new / "main.bsh").write_text(MAIN)
        maven = [_program("mvn", "maven"), "-B", "-q", f"{PLUGIN}:copy-dependencies", "-DoutputDirectory=lib"]
        log = Path(directory) / "log"
        with log.open("wb") as output:
            result = subprocess.run(maven, cwd=new, stdout=output, stderr=subprocess.STDOUT)
        if result.returncode != 0:
            raise EmbeddedError(
                f"Maven could not fetch mongo-java-server {VERSION}:\n{last_lines(log)}",
                "Check that Maven's repository can be reached, and settings.xml where there is a proxy.",
            )
        # The rename is atomic: whoever looks for the jars finds all of them or nothing.
        new.replace(home)


def _program(name: str, package: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise EmbeddedError(
            f"The embedded MongoDB needs {name}, which is not installed.",
            f"Install it (Debian: apt-get install {package}).",
        )
    return path
