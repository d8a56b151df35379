"""The open catalogue: what anybody may read before logging in."""

from typing import Any

from core.auth import ANYONE
from core.directory import schemas, service
from core.directory.catalogue import Wanted
from core.http import ApiHandler, endpoint
from core.media import service as media
from core.media.schemas import UNCHANGED
from core.wire import Page, page


def whole(items: list[Any]) -> dict[str, Any]:
    """A list short enough to be answered at once, in the shape of all lists."""
    return {"items": items, "next_cursor": None}


class HospitalHandler(ApiHandler):
    """The hospital."""

    @endpoint(roles=ANYONE, summary="医院信息", answer=schemas.HospitalView(), errors=("not_found",))
    async def get(self) -> Any:
        """Name, licences, phones, where to complain (R2-5)."""
        return await service.hospital(self.ctx)


class DepartmentsHandler(ApiHandler):
    """Departments."""

    @endpoint(roles=ANYONE, summary="科室列表", answer=schemas.DEPARTMENTS)
    async def get(self) -> Any:
        """All departments in the hospital's order."""
        return whole(service.departments(self.ctx))


class DoctorsHandler(ApiHandler):
    """Doctors who may be asked."""

    @endpoint(roles=ANYONE, summary="查找医生", query=schemas.DoctorQuery(), answer=schemas.DOCTORS)
    async def get(self, query: dict[str, Any]) -> Any:
        """Best first; only those who may and do offer something today, with their fees (R2-2, R2-8, R6-8)."""
        wanted = Wanted(
            department=query["department"], text=query["q"], service=query["service"], online=query["online"]
        )
        return service.find_doctors(self.ctx, wanted, limit=query["limit"], cursor=query["cursor"])


class DoctorHandler(ApiHandler):
    """One doctor."""

    @endpoint(roles=ANYONE, summary="医生主页", answer=schemas.DoctorView(), errors=("not_found",))
    async def get(self, doctor_id: str) -> Any:
        """The doctor's page; who cannot be asked today has no services and no fees."""
        return service.doctor_page(self.ctx, doctor_id)


class DoctorPhotoHandler(ApiHandler):
    """The photo on a doctor's page."""

    def compute_etag(self) -> None:
        """It is the digest of the image, known before it is read."""

    @endpoint(roles=ANYONE, summary="医生照片", media_type="image/jpeg", errors=("not_found",), responses=UNCHANGED)
    async def get(self, doctor_id: str) -> None:
        """The small image, JPEG. Caches ask each time whether it still holds: a new photo is seen at once."""
        content = await service.photo(self.ctx, doctor_id)
        self.set_header("Cache-Control", "public, no-cache")
        self.set_header("ETag", content.etag)
        self.set_header("Content-Type", content.mime)
        if self.check_etag_header():
            self.set_status(304)
            self.finish()
            return
        self.finish(b"".join([piece async for piece in await media.read(self.ctx, content, 0, content.size)]))


class DoctorRatingsHandler(ApiHandler):
    """What patients said of a doctor."""

    @endpoint(roles=ANYONE, summary="医生评价", query=Page(), answer=schemas.DoctorRatings(), errors=("not_found",))
    async def get(self, doctor_id: str, query: dict[str, Any]) -> Any:
        """Newest first, with masked authors, and the average over all."""
        ratings = await service.ratings_page(self.ctx, doctor_id, limit=query["limit"], cursor=query["cursor"])
        return page(ratings, query["limit"]) | service.doctor_page(self.ctx, doctor_id)["rating"]


class ConsultTypesHandler(ApiHandler):
    """Kinds of questions."""

    @endpoint(roles=ANYONE, summary="咨询类型", answer=schemas.CONSULT_TYPES)
    async def get(self) -> Any:
        """Those enabled, in the hospital's order (P1.4)."""
        return whole(await service.consult_types(self.ctx))


class ConsentTextHandler(ApiHandler):
    """A text patients agree to."""

    @endpoint(
        roles=ANYONE,
        summary="知情同意文书",
        query=schemas.ConsentTextQuery(),
        answer=schemas.ConsentTextView(),
        errors=("not_found",),
    )
    async def get(self, kind: str, query: dict[str, Any]) -> Any:
        """The version in force, or the one asked for (R3-1)."""
        return await service.consent_text(self.ctx, kind, query["version"])


class DivisionsHandler(ApiHandler):
    """Administrative divisions."""

    @endpoint(
        roles=ANYONE,
        summary="行政区划",
        query=schemas.DivisionQuery(),
        answer=schemas.DIVISIONS,
        errors=("not_found",),
    )
    async def get(self, query: dict[str, Any]) -> Any:
        """Those right below `parent`, in the order of their codes; all of them at once."""
        return whole(service.divisions(query["parent"]))


class EmojiHandler(ApiHandler):
    """The emoji of the chat."""

    @endpoint(roles=ANYONE, summary="聊天表情", answer=schemas.EMOJI)
    async def get(self) -> Any:
        """Every code a message of kind `emoji` may carry."""
        return whole(service.emoji())


ROUTES = [
    (r"/api/v1/hospital", HospitalHandler),
    (r"/api/v1/departments", DepartmentsHandler),
    (r"/api/v1/doctors", DoctorsHandler),
    (r"/api/v1/doctors/(\w+)", DoctorHandler),
    (r"/api/v1/doctors/(\w+)/photo", DoctorPhotoHandler),
    (r"/api/v1/doctors/(\w+)/ratings", DoctorRatingsHandler),
    (r"/api/v1/consult-types", ConsultTypesHandler),
    (r"/api/v1/consent-texts/(\w+)", ConsentTextHandler),
    (r"/api/v1/divisions", DivisionsHandler),
    (r"/api/v1/emoji", EmojiHandler),
]
