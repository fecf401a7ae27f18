"""A sensor and its viewers, as two kinds of WebSocket that meet in a group named for the sensor."""

from channels.generic.websocket import AsyncJsonWebsocketConsumer


class Sensor(AsyncJsonWebsocketConsumer):
    async def connect(self):
        self.group = self.scope["url_route"]["kwargs"]["serial_no"]
        await self.accept()

    async def receive_json(self, content):
        await self.channel_layer.group_send(self.group, {"type": "reading", "data": content["data"]})


class Viewer(AsyncJsonWebsocketConsumer):
    async def connect(self):
        self.group = self.scope["url_route"]["kwargs"]["serial_no"]
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code):
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def reading(self, event):
        await self.send_json({"data": event["data"]})
