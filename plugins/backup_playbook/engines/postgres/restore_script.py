from backup_playbook.core.model import Manifest


def render(manifest: Manifest, repository_url: str) -> str:
    return ""
