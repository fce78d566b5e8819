package dev.gatun.bench;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;

/**
 * A function of tensors in PyTorch's own operators, some of which DJL has no method for: written as
 * {@code torch.jit.save} writes it, with the code as text, so that it takes no Python.
 *
 * @see "PyTorch, torch/csrc/jit/docs/serialization.md"
 */
final class TorchScript {
  private final List<String> parameters;
  private final StringBuilder body = new StringBuilder();
  private int values;

  /** Without a line of code. */
  TorchScript(String... parameters) {
    this.parameters = List.of(parameters);
  }

  /** Appends {@code name = torch.call}, and returns the name. */
  String apply(String call) {
    String name = "v" + values++;
    body.append("    ").append(name).append(" = torch.").append(call).append('\n');
    return name;
  }

  /** Appends a call that returns so many tensors. */
  List<String> applyAll(String call, int count) {
    String list = apply(call);
    List<String> names = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      names.add("v" + values++);
    }
    body.append("    ").append(String.join(", ", names)).append(", = ").append(list).append('\n');
    return names;
  }

  private String code(String result) {
    StringBuilder code =
        new StringBuilder(
            """
            class Net(Module):
              __parameters__ = []
              __buffers__ = []
              training : bool
              def forward(self: __torch__.Net\
            """);
    parameters.forEach(p -> code.append(",\n    ").append(p).append(": Tensor"));
    return code + ") -> Tensor:\n" + body + "    return " + result + "\n";
  }

  /** The archive that {@code torch.jit.load} reads. */
  byte[] archive(String result) {
    // an object of the class, with training = True
    String object = "\u0080\u0002c__torch__\nNet\n)\u0081}X\b\0\0\0training\u0088sb.";
    String nothing = "\u0080\u0002).";
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ZipOutputStream zip = new ZipOutputStream(bytes)) {
      put(zip, "net/data.pkl", object.getBytes(StandardCharsets.ISO_8859_1));
      put(zip, "net/code/__torch__.py", code(result).getBytes(StandardCharsets.UTF_8));
      put(zip, "net/constants.pkl", nothing.getBytes(StandardCharsets.ISO_8859_1));
      put(zip, "net/version", "3\n".getBytes(StandardCharsets.UTF_8));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return bytes.toByteArray();
  }

  /** As it is: what reads it maps the file. */
  private static void put(ZipOutputStream zip, String name, byte[] data) throws IOException {
    CRC32 sum = new CRC32();
    sum.update(data);
    ZipEntry entry = new ZipEntry(name);
    entry.setMethod(ZipEntry.STORED);
    entry.setSize(data.length);
    entry.setCrc(sum.getValue());
    zip.putNextEntry(entry);
    zip.write(data);
    zip.closeEntry();
  }
}
