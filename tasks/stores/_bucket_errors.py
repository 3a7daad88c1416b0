"""What an S3 server's refusal means, in words that somebody can act on. Texts of the server are never passed on."""

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)

RIGHTS = (
    "s3:PutObject, s3:GetObject, s3:GetObjectVersion, s3:ListBucket, s3:ListBucketVersions, s3:PutObjectRetention, "
    "s3:GetObjectRetention"
)
GONE = frozenset({"404", "NoSuchKey", "NoSuchVersion", "MethodNotAllowed", "405"})
"""The version is not there, or is a delete marker."""
STANDS = frozenset({"412", "PreconditionFailed", "409", "ConditionalRequestConflict"})
"""Something stands under this key, or is being put there this moment."""
STALE = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"}
)
UNKNOWN_CONDITION = frozenset({"501", "NotImplemented"})

_CREDENTIALS = ("does not know the credentials", "put valid ones where the setting `credentials` points")
_NO_LOCK = (
    "cannot lock objects: Object Lock is not enabled on it",
    "enable Object Lock (and with it versioning) on the bucket, or name one that has it",
)
_FULL = ("is full, or its quota is used up", "make room or raise the quota, then collect again")
_BUSY = ("could not answer now", "look at the server; what was not stored is collected again")
_REGION = ("is in another region or at another address", "correct region and endpoint_url")
_REFUSED = ("refused this identity", f"give it these rights on the bucket: {RIGHTS}")
_CLOCK = (
    "says that this machine's clock is wrong by more than a quarter of an hour",
    "set the clock of this machine (or of the server)",
)
_MEANING = {
    "NoSuchBucket": ("does not exist", "create it with Object Lock enabled, or correct the location"),
    "AccessDenied": _REFUSED,
    "403": _REFUSED,
    "RequestTimeTooSkewed": _CLOCK,
    "RequestExpired": _CLOCK,
    "QuotaExceeded": _FULL,
    "InsufficientStorage": _FULL,
    "507": _FULL,
    "XMinioStorageFull": _FULL,
    "InvalidBucketState": _NO_LOCK,
    "ObjectLockConfigurationNotFoundError": _NO_LOCK,
    "PermanentRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "301": _REGION,
    "BadDigest": ("received other bytes than were sent", "look at the network between; what was not stored is collected again"),
    **dict.fromkeys(STALE, _CREDENTIALS),
}  # fmt: skip


class BucketError(Exception):
    """A bucket could not do what was asked; `problem` and `next_step` are for a person, `code` is the server's."""

    def __init__(self, problem: str, next_step: str, code: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.next_step = next_step
        self.code = code


def no_lock(bucket: str) -> BucketError:
    """The bucket takes objects and does not lock them."""
    return BucketError(f"the bucket {bucket} {_NO_LOCK[0]}", _NO_LOCK[1], "no lock")


def code_of(error: ClientError) -> str:
    """The server's word for it; its HTTP status when it has none."""
    found = error.response.get("Error", {}).get("Code") or error.response.get("ResponseMetadata", {}).get(
        "HTTPStatusCode"
    )
    return str(found or "unknown")


def told(bucket: str, operation: str, error: ClientError | BotoCoreError) -> BucketError:
    """The same failure, understood as far as it can be."""
    if isinstance(error, ClientError):
        code = code_of(error)
        if operation == "head_bucket" and code == "404":
            code = "NoSuchBucket"
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        message = str(error.response.get("Error", {}).get("Message", "")).lower()
        if status in {400, 409} and ("object lock config" in message or "object lock is not" in message):
            return no_lock(bucket)
        what, todo = _MEANING.get(code) or (
            _BUSY if status >= 500 else ("refused the request", "look up this code for your server")
        )
        return BucketError(f"the bucket {bucket} {what} ({operation}: {code})", todo, code)
    kind = type(error).__name__
    if isinstance(error, NoCredentialsError):
        return BucketError(f"there are no credentials for the bucket {bucket}", _CREDENTIALS[1], kind)
    if isinstance(error, EndpointConnectionError | ConnectTimeoutError | ReadTimeoutError):
        return BucketError(f"the server of the bucket {bucket} cannot be reached ({operation}: {kind})", _BUSY[1], kind)
    return BucketError(f"the bucket {bucket} could not be asked ({operation}: {kind})", _BUSY[1], kind)
