"""The two endpoints that a service without a config offers, on real input."""

import pathlib
import tempfile
import wave

import numpy

from clients import answer, result, run, same

RATE = 16_000


async def scenario(client):
    task = await answer(client.detect_language.submit(text="Der Zug nach Kyoto f\u00e4hrt in zehn Minuten ab."))
    same((await result(task))["language"], "deu")
    same((await answer(client.detect_language(text="The train to Kyoto leaves in ten minutes.")))["language"], "eng")

    with tempfile.TemporaryDirectory() as folder:
        noisy = pathlib.Path(folder, "noisy.wav")
        write_noise(noisy)
        cleaned = await result(await answer(client.denoise.submit(audio=noisy)))
        before, after = read(noisy), read(cleaned)
    same(len(after), len(before))
    assert power(after) < power(before) / 4, "noise alone came back as loud as it was"


def write_noise(path):
    noise = numpy.random.default_rng(1).normal(0, 1000, RATE)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(noise.astype("<i2").tobytes())


def read(path):
    with wave.open(str(path), "rb") as file:
        same((file.getnchannels(), file.getsampwidth(), file.getframerate()), (1, 2, RATE))
        return numpy.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float)


def power(samples):
    return float(numpy.mean(samples**2))


run(scenario)
