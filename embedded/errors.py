"""The one error of the embedded stack."""


class EmbeddedError(Exception):
    """Something of the embedded stack could not be done.

    what: what happened, with the names involved. remedy: what the reader can do about it.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}\n{remedy}")
        self.what = what
        self.remedy = remedy
