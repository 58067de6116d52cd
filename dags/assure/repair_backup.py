"""# Repair a backup

**When:** a verification has rejected a backup (an object is damaged or missing, a manifest was changed) and another
repository has a verified copy of it. Or when an object cannot be read (a failing disk): then name the backup's id, and
the repository.

**What:** what is damaged is brought back from the other repository, compared with the manifest on its way, and then the
whole backup is read again. Nothing that is right is touched.

| step | what it does |
|---|---|
| `find_damage` | finds the sound copy, reads the damaged one, and names what is not as it was backed up |
| `copy_sound` | replaces that. Of a backup of files, whose contents are shared, all are sent anew |
| `verify` | reads the repaired backup as closely as it can; from then on it counts again, and people are told |

**When it fails:** the backup is as it was: rejected. `find_damage` says when no other repository has a verified copy.
After `copy_sound`, clear the red task when its cause is gone: what was repaired until then stays. When `verify` is red,
the damage comes back: look for a failing disk, or for somebody who writes to the bucket.

Backups of files share their contents: others may name what was damaged in this one. The next backup relies on none of
them, and daily_backup_verification reads them again and says which they are; each is repaired by itself.
"""

from airflow.sdk import dag

from backup_playbook.forms.defaults import ALERTS, BY_BUTTON
from backup_playbook.forms.repair import damaged_param, where_param
from backup_playbook.forms.sources import source_param, sources
from backup_playbook.operators.repair import CopySound, FindDamage, VerifyRepaired


@dag(
    schedule=None,
    doc_md=__doc__,
    params={
        "source": source_param(sources(), "Whose backup?"),
        "backup": damaged_param(),
        "where": where_param(),
    },
    **{**BY_BUTTON, "tags": ["assure"]},
    **ALERTS,
)
def repair_backup():
    found = FindDamage(
        task_id="find_damage",
        source="{{ params.source }}",
        backup="{{ params.backup }}",
        where="{{ params.where }}",
    )
    copied = CopySound(task_id="copy_sound", handoff=found.output)
    VerifyRepaired(task_id="verify", handoff=copied.output)


repair_backup()
