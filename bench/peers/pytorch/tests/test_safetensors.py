import json
import os
import struct
import tempfile
import unittest

import torch

import context  # noqa: F401
import safetensors_file


class SafetensorsTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "a.safetensors")

    def put(self, header, body=b""):
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        with open(self.path, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text + body)

    def test_reads_bytes_as_they_are_described(self):
        body = struct.pack("<3f", 1, -2, 0.5) + bytes([7, 255]) + struct.pack("<d", 1e300)
        self.put(
            {
                "__metadata__": {"model": "m"},
                "a": {"dtype": "F32", "shape": [3, 1], "data_offsets": [0, 12]},
                "b": {"dtype": "U8", "shape": [2], "data_offsets": [12, 14]},
                "c": {"dtype": "F64", "shape": [], "data_offsets": [14, 22]},  # not aligned
                "d": {"dtype": "F32", "shape": [0, 4], "data_offsets": [3, 3]},
            },
            body,
        )
        metadata, tensors = safetensors_file.read(self.path)
        self.assertEqual({"model": "m"}, metadata)
        self.assertEqual([[1], [-2], [0.5]], tensors["a"].tolist())
        self.assertEqual([7, 255], tensors["b"].tolist())
        self.assertEqual(1e300, tensors["c"].item())
        self.assertEqual((0, 4), tuple(tensors["d"].shape))

    def test_what_is_written_is_read(self):
        torch.manual_seed(1)
        given = {
            "x": torch.randn(2, 3, 4),
            "y": torch.randn(5, 2).t().bfloat16(),
            "z": torch.arange(6, dtype=torch.uint8).reshape(3, 2),
        }
        safetensors_file.write(self.path, given, {"k": "v"})
        metadata, tensors = safetensors_file.read(self.path)
        self.assertEqual({"k": "v"}, metadata)
        for name, tensor in given.items():
            self.assertEqual(tensor.dtype, tensors[name].dtype)
            self.assertTrue(torch.equal(tensor, tensors[name]), name)

    def test_damaged_files_are_refused_in_one_line(self):
        entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
        cases = [
            (b"[]", b"", "no JSON object"),
            (b"{", b"", "not JSON"),
            ({"a": dict(entry, dtype="F31")}, b"12345678", "'a'"),
            ({"a": dict(entry, shape=[3])}, b"12345678", "'a'"),
            ({"a": entry}, b"1234567", "'a'"),
            ({"a": dict(entry, data_offsets=[-4, 4])}, b"12345678", "'a'"),
        ]
        for header, body, part in cases:
            self.put(header, body)
            with self.assertRaises(ValueError) as caught:
                safetensors_file.read(self.path)
            self.assertIn(part, str(caught.exception))
            self.assertNotIn("\n", str(caught.exception))
        with open(self.path, "wb") as file:
            file.write(struct.pack("<Q", 2**63))
        with self.assertRaisesRegex(ValueError, "claims a header"):
            safetensors_file.read(self.path)


if __name__ == "__main__":
    unittest.main()
