from tfsr.photos.photo import Photo, bleed_opaque
from tfsr.photos.reading import read_photo
from tfsr.photos.writing import check_writable, write_photo

__all__ = ["Photo", "bleed_opaque", "check_writable", "read_photo", "write_photo"]
