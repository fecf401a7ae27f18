import os

from django.core.asgi import get_asgi_application

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
http = get_asgi_application()

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402: what it imports wants Django set up
from django.urls import path  # noqa: E402

from consumers import Sensor, Viewer  # noqa: E402

application = ProtocolTypeRouter({
    "http": http,
    "websocket": URLRouter([
        path("sensors/<str:serial_no>/publish", Sensor.as_asgi()),
        path("sensors/<str:serial_no>/watch", Viewer.as_asgi()),
    ]),
})
