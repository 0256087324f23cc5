"""A model server as people write them: FastAPI around a real model, with room for two at a time and 429 for a third."""

import asyncio
import sys

import uvicorn
from fastapi import FastAPI, Request, Response
from magika import Magika

app, magika = FastAPI(), Magika()
room = asyncio.Semaphore(2)
refusals = 0


@app.post("/classify")
async def classify(request: Request):
    global refusals
    body = await request.body()
    if room.locked():
        refusals += 1
        return Response(status_code=429, headers={"retry-after": "0"})
    async with room:
        result = await asyncio.to_thread(magika.identify_bytes, body)
    return {"label": str(result.output.label), "score": result.score}


@app.get("/refusals")
async def told() -> int:
    return refusals


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
