from core.openapi import document
from core.uploads.handlers import ROUTES
from core.uploads.schemas import UploadView, tells


def operations():
    return document(ROUTES)["paths"]


def test_an_upload_is_shown_with_its_medium_and_nothing_of_its_owner():
    assert set(UploadView().fields) == {"id", "status", "length", "offset", "expires_at", "medium"}


def test_answers_name_their_headers_and_always_the_version():
    (said,) = tells(204, "x", "Upload-Offset").values()
    assert [*said["headers"]] == ["Tus-Resumable", "Upload-Offset"]


def test_the_document_names_what_must_be_sent_and_what_is_told():
    paths = operations()
    assert [*paths] == ["/api/v1/media/uploads", "/api/v1/media/uploads/{upload_id}"]
    begins, goes_on = paths["/api/v1/media/uploads"]["post"], paths["/api/v1/media/uploads/{upload_id}"]["patch"]
    asked = {one["name"]: one["required"] for one in begins["parameters"]}
    assert asked == {"Tus-Resumable": True, "Upload-Length": True, "Upload-Metadata": False}
    assert {"Location", "Upload-Expires"} <= set(begins["responses"]["201"]["headers"])
    assert [*goes_on["requestBody"]["content"]] == ["application/offset+octet-stream"]
    assert {"404", "409", "410", "412", "413", "415", "429"} <= set(goes_on["responses"])
    assert {"Upload-Offset", "Upload-Medium"} <= set(goes_on["responses"]["204"]["headers"])
    assert set(paths["/api/v1/media/uploads/{upload_id}"]) == {"get", "head", "patch", "delete", "options"}
