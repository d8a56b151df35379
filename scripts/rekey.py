"""`python -m scripts.rekey`: seal every encrypted field anew under the current key, while the hospital serves.

Changing the key of field encryption without downtime:

1. Add the new key to `FIELD_KEYS`, leave `FIELD_KEY` as it is, and restart the processes one after the other: now all
   of them can read what the new key seals.
2. Set `FIELD_KEY` to the new key's id and restart again: what is written from now on is under the new key.
3. Run this, with the same environment. It goes through the collections in batches, may be cut off and run again, and
   prints one line a collection; it is done when a run says `0 fields`.
4. Take the old key out of `FIELD_KEYS`, once the backups made before step 3 are not needed any more.

`BLIND_INDEX_KEY` does not take part: it is never changed. Access tokens need no command: add a key to `TOKEN_KEYS`,
restart, name it in `TOKEN_KEY`, restart, and take the old one out when an access token's life has passed.

Ends with 0; with one line on standard error and 1 when a setting is wrong, a store away, or a field's key missing.
"""

import asyncio
import sys

from app.settings import BadSettings, Settings, key_of, keys_of, read
from core.errors import AWAY
from storage.encryption import FieldCipher, Unreadable
from storage.mongo import Store
from storage.rekeying import Rekeyed, rekey


async def run(settings: Settings) -> dict[str, Rekeyed]:
    """What was done, by collection."""
    cipher = FieldCipher(keys_of(settings, "field_keys"), settings.field_key, key_of(settings, "blind_index_key"))
    store = await Store.open(settings.mongo_uri, settings.mongo_database, driver=settings.mongo_driver)  # type: ignore[arg-type]  # checked by app.settings
    try:
        return await rekey(store, cipher)
    finally:
        await store.close()


def main() -> int:
    """The exit status."""
    try:
        done = asyncio.run(run(read()))
    except (BadSettings, Unreadable) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except AWAY as error:
        sys.stderr.write(f"a store cannot be reached: {type(error).__name__}\n")
        return 1
    for name, counts in done.items():
        said = f"{counts.documents} documents, {counts.fields} fields sealed anew, {counts.raced} written meanwhile"
        sys.stdout.write(f"{name}: {said}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
