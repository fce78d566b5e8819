import json
import os
import subprocess
import sys
import tempfile
import unittest

from context import FOLDER, TRAINING, batch, config, network, results

import safetensors_file
import training


class WorkerTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.process = subprocess.Popen(
            [sys.executable, os.path.join(FOLDER, "worker.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    @classmethod
    def tearDownClass(cls):
        cls.process.stdin.close()
        cls.process.wait(30)
        cls.process.stdout.close()

    def send(self, line):
        self.process.stdin.write((line if isinstance(line, str) else json.dumps(line)) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def fails(self, line, kind, part):
        reply = self.send(line)
        self.assertFalse(reply["ok"], reply)
        self.assertEqual(kind, reply["kind"], reply)
        self.assertIn(part, reply["error"])
        self.assertNotIn("\n", reply["error"])

    def test_errors_are_one_line_and_the_worker_goes_on(self):
        self.assertTrue(self.send({"command": "hello", "device": "cpu", "threads": 1})["ok"])
        self.fails("so what", "usage", "not JSON")
        self.fails("[1]", "usage", "object")
        self.fails({"command": "fly"}, "usage", "fly")
        self.fails({"id": 4, "command": "answer"}, "usage", "answer")
        self.fails({"command": "time", "name": "nothing", "repeats": 1}, "usage", "nothing")
        self.fails({"command": "time"}, "usage", "repeats")
        self.fails({"command": "prepare", "name": "a", "workload": "paint"}, "usage", "paint")
        self.fails({"command": "prepare", "name": "a", "workload": "train", "net": "n", "batch": 1}, "usage", "'n'")
        self.fails({"command": "free", "name": "a"}, "usage", "'a'")
        missing = {"command": "load", "name": "n", "model": "pixelcnn", "config": {}, "training": {}}
        self.fails(dict(missing, ours="/nothing/here"), "usage", "/nothing/here")
        reply = self.send({"id": 9, "command": "hello", "device": "cpu"})
        self.assertEqual((True, 9), (reply["ok"], reply["id"]))
        self.assertIn("GPU", reply["variants"]["graph"])

    def test_a_network_is_checked_and_then_timed(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "ours")
            net = network("gated-pixelcnn")
            trainer = training.Trainer(net, TRAINING, batch()[0])
            tensors = results(net, trainer)
            safetensors_file.write(path, tensors)
            load = {"command": "load", "name": "net", "model": "gated-pixelcnn", "ours": path}
            load.update(config=config("gated-pixelcnn", 1, 0), training=TRAINING)
            self.assertEqual(net.count(), self.send(load)["parameters"])
            for workload in ("train", "forward", "sample"):
                prepare = {"command": "prepare", "name": workload, "workload": workload, "net": "net", "batch": 4}
                reply = self.send(prepare)
                self.assertTrue(reply["ok"], reply)
                self.assertLessEqual(reply["agreement"]["parameters"], 1e-4)
                timed = self.send({"command": "time", "name": workload, "repeats": 3, "seconds": 0.01})
                self.assertEqual(3, len(timed["seconds"]), timed)
                self.assertTrue(all(s > 0 for s in timed["seconds"]))
                self.fails(dict(prepare, name="g", variant="graph"), "unavailable", "GPU")
            tensors["f32.parameters"] = tensors["f32.parameters"] * 1.01
            safetensors_file.write(path, tensors)
            self.assertTrue(self.send(dict(load, name="other"))["ok"])
            reply = dict(prepare, name="x", workload="forward", net="other")
            self.fails(reply, "disagreement", "parameters differ by")
            self.fails({"command": "time", "name": "x", "repeats": 1}, "usage", "'x'")

    def test_it_ends_with_its_input(self):
        for text in ("", '{"command": "quit"}\n{"command": "hello"}\n'):
            ended = subprocess.run(
                [sys.executable, os.path.join(FOLDER, "worker.py")],
                input=text,
                capture_output=True,
                text=True,
                timeout=60,
            )
            self.assertEqual((0, ""), (ended.returncode, ended.stdout), ended.stderr)


if __name__ == "__main__":
    unittest.main()
