"""RabbitMQ through aio-pika: durable queue, persistent messages, publisher confirms, prefetch 200, an ack for each."""

import asyncio
import time

import aio_pika
from tally import PAYLOAD, Tally, asked, told

DO, GIVEN = asked()
TALLY = Tally(GIVEN["jobs"])


async def opened():
    connection = await aio_pika.connect(GIVEN["url"])
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=200)
    return connection, channel, await channel.declare_queue("bench", durable=True)


async def fill():
    connection, channel, queue = await opened()
    body = PAYLOAD.encode()
    began = time.perf_counter()

    async def share(count):
        for _ in range(count):
            message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await channel.default_exchange.publish(message, routing_key=queue.name)

    await asyncio.gather(*(share(GIVEN["jobs"] // 50) for _ in range(50)))
    told(began, GIVEN["jobs"] // 50 * 50)
    await connection.close()


async def work():
    connection, _, queue = await opened()

    async def handle(message):
        if GIVEN["wait"]:
            await asyncio.sleep(GIVEN["wait"])
        await message.ack()
        TALLY.one()

    await queue.consume(handle)
    await asyncio.to_thread(TALLY.wait)
    TALLY.tell()
    await connection.close()


asyncio.run(fill() if DO == "fill" else work())
