"""The sample of BentoML's documentation on async task queues, with its calls and its status words.

The sample asks for the status once, "at a later time"; here it is asked until the task no longer runs. It is for
clients before 1.4.14: the words in it are of that time.
"""

import sys
import time

import bentoml

client = bentoml.SyncHTTPClient(sys.argv[1])
prompt = "A bento box on a railway platform, in watercolour"

task = client.long_running_image_generation.submit(prompt=prompt)
print("Task submitted, ID:", task.id)

deadline = time.monotonic() + 30
while True:
    status = task.get_status()
    if status.value == "success":
        print("The task succeeded:", task.get())
        break
    elif status.value == "failure":
        sys.exit("The task failed.")
    elif status.value == "in_progress" and time.monotonic() < deadline:
        time.sleep(0.01)
    else:
        sys.exit(f"The task is {status.value}.")

image = task.get()
assert image.size == (len(prompt), 8), image
print("A second image, ID:", task.retry().id)
client.close()
