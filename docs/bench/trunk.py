"""Images a second, from normalised input to logits, in what one would run instead of graft: ONNX Runtime
and OpenVINO, with random weights, and beside them graft's own figure if its binary is named.

    python trunk.py ARCH [--batch 32] [--threads 2] [--rounds 3] [--precision fp32 bf16] [--graft PATH]

ARCH is a torchvision name, or efficientnet_lite0. graft needs AVX512-BF16 for bf16. A batch goes to ONNX Runtime as a whole, and to OpenVINO in
requests of four images, which suits each best. With --batch 1 the one image is a request of its own, and the figure
is its latency. The programs take turns, a few seconds each, and the fastest run of all rounds counts, so that other work
on the machine disturbs them alike and little. Each line of the output is a JSON object.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
import warnings

warnings.filterwarnings("ignore")
import onnxruntime
import openvino
import torch
import torchvision

parser = argparse.ArgumentParser()
parser.add_argument("arch")
parser.add_argument("--batch", type=int, default=32)
parser.add_argument("--threads", type=int, default=os.cpu_count())
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"])
parser.add_argument("--graft", help="path of the graft binary")
args = parser.parse_args()


def report(program, precision, seconds):
    figures = {"program": program, "arch": args.arch, "precision": precision, "batch": args.batch, "threads": args.threads,
               "img_s": round(args.batch / seconds, 1)}
    if args.batch == 1:
        figures["ms"] = round(1000 * seconds, 2)
    print(json.dumps(figures), flush=True)


def best(run):
    """The least time of a run, after one to warm up, in two seconds of them."""
    run()
    least, begin = float("inf"), time.perf_counter()
    while time.perf_counter() - begin < 2:
        start = time.perf_counter()
        run()
        least = min(least, time.perf_counter() - start)
    return least


def network():
    if args.arch == "efficientnet_lite0":
        import lite0

        return lite0.load().eval()
    return torchvision.models.get_model(args.arch, weights=None).eval()


images = torch.randn(args.batch, 3, 224, 224)
path = os.path.join(tempfile.mkdtemp(), "network.onnx")
torch.onnx.export(network(), (images[:1],), path, input_names=["x"], output_names=["y"],
                  dynamic_axes={"x": {0: "n"}, "y": {0: "n"}}, dynamo=False)
images = images.numpy()


def onnx_runtime():
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: best(lambda: session.run(None, {"x": images}))


def open_vino(precision):
    compiled = openvino.Core().compile_model(path, "CPU", {
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision], "INFERENCE_NUM_THREADS": args.threads,
        "PERFORMANCE_HINT": "LATENCY" if args.batch == 1 else "THROUGHPUT"})
    if args.batch == 1:
        request = compiled.create_infer_request()
        return lambda: best(lambda: request.infer({0: images}))
    queue = openvino.AsyncInferQueue(compiled)

    def run():
        for i in range(0, args.batch, 4):
            queue.start_async({0: images[i:i + 4]})
        queue.wait_all()

    return lambda: best(run)


def graft(precision):
    command = [args.graft, "--threads", str(args.threads), "bench", args.arch, "--batch", str(args.batch), "--precision", precision, "--json"]
    return lambda: args.batch / json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)["img_s"]


programs = {}
for precision in args.precision:
    if precision == "fp32":
        programs["onnxruntime", precision] = onnx_runtime()
    programs["openvino", precision] = open_vino(precision)
    if args.graft:
        programs["graft", precision] = graft(precision)
least = dict.fromkeys(programs, float("inf"))
for _ in range(args.rounds):
    for program, measure in programs.items():
        least[program] = min(least[program], measure())
for (program, precision), seconds in least.items():
    report(program, precision, seconds)
