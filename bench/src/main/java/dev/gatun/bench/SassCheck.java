package dev.gatun.bench;

import dev.gatun.engine.cuda.CudaBackend;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The machine code of the kernels that are to run on tensor cores, where the machine has CUDA's
 * {@code cuobjdump}: PTX says what was meant, only this what became of it.
 */
final class SassCheck {
  /** Products on tensor cores, loads of their fragments, copies that do not pass by registers. */
  private static final List<String> WANTED = List.of("HMMA.16816.F32.BF16", "LDSM", "LDGSTS");

  /** Loads and stores of registers that did not fit. */
  private static final List<String> UNWANTED = List.of("LDL", "STL");

  private static final Pattern FUNCTION = Pattern.compile("\\s*Function : (\\S+)");
  private static final int SECONDS = 120;

  private final Path cuobjdump;

  /** For the tool at a path. */
  SassCheck(Path cuobjdump) {
    this.cuobjdump = cuobjdump;
  }

  /** With the tool of this machine, if it has one. */
  static Optional<SassCheck> find() {
    List<Path> folders = new ArrayList<>();
    for (String variable : List.of("CUDA_PATH", "CUDA_HOME")) {
      String value = System.getenv(variable);
      if (value != null && !value.isBlank()) {
        folders.add(Path.of(value, "bin"));
      }
    }
    for (String folder : System.getenv().getOrDefault("PATH", "").split(":")) {
      if (!folder.isBlank()) {
        folders.add(Path.of(folder));
      }
    }
    folders.add(Path.of("/usr/local/cuda/bin"));
    return folders.stream()
        .map(folder -> folder.resolve("cuobjdump"))
        .filter(Files::isExecutable)
        .findFirst()
        .map(SassCheck::new);
  }

  /** The checks of each module that has kernels for tensor cores. */
  List<DeviceCheck> run() {
    List<DeviceCheck> checks = new ArrayList<>();
    for (String module : List.of("conv_taps", "conv_weights")) {
      try {
        checks.add(check(module, disassembled(module)));
      } catch (IOException e) {
        checks.add(new DeviceCheck("machine code of " + module, e.getMessage(), false));
      }
    }
    return checks;
  }

  private String disassembled(String module) throws IOException {
    byte[] fatbin =
        CudaBackend.fatbin(module)
            .orElseThrow(() -> new IOException("was not built: nvcc was not there"));
    Path file = Files.createTempFile("gatun", ".fatbin");
    Path text = Files.createTempFile("gatun", ".sass");
    try {
      Files.write(file, fatbin);
      Process process =
          new ProcessBuilder(cuobjdump.toString(), "-sass", file.toString())
              .redirectErrorStream(true)
              .redirectOutput(text.toFile())
              .start();
      if (!process.waitFor(SECONDS, TimeUnit.SECONDS)) {
        process.destroyForcibly();
        throw new IOException(cuobjdump + " did not end in " + SECONDS + " s");
      }
      String output = Files.readString(text, StandardCharsets.UTF_8);
      if (process.exitValue() != 0) {
        throw new IOException(cuobjdump + " failed: " + output.lines().findFirst().orElse(""));
      }
      return output;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException(cuobjdump + " was not waited for", e);
    } finally {
      Files.deleteIfExists(file);
      Files.deleteIfExists(text);
    }
  }

  /** Looks at the kernels for bf16 in what cuobjdump says of a module. */
  static DeviceCheck check(String module, String sass) {
    Map<String, StringBuilder> functions = new LinkedHashMap<>();
    StringBuilder current = new StringBuilder();
    for (String line : sass.lines().toList()) {
      Matcher matcher = FUNCTION.matcher(line);
      if (matcher.matches()) {
        current = functions.computeIfAbsent(matcher.group(1), f -> new StringBuilder());
      }
      current.append(line).append('\n');
    }
    TreeSet<String> wrong = new TreeSet<>();
    int seen = 0;
    for (Map.Entry<String, StringBuilder> function : functions.entrySet()) {
      if (!function.getKey().contains("bf16")) {
        continue;
      }
      seen++;
      String text = function.getValue().toString();
      boolean scalar = function.getKey().endsWith("_any") && module.equals("conv_weights");
      for (String opcode : WANTED) {
        // where single elements are copied there is nothing to copy asynchronously
        if (!text.contains(opcode) && !(scalar && opcode.equals("LDGSTS"))) {
          wrong.add(function.getKey() + " has no " + opcode);
        }
      }
      for (String opcode : UNWANTED) {
        if (Pattern.compile("\\b" + opcode + "\\b").matcher(text).find()) {
          wrong.add(function.getKey() + " has " + opcode);
        }
      }
    }
    if (seen == 0) {
      wrong.add("there is no kernel for bf16 in it");
    }
    String good = seen + " kernels with " + String.join(", ", WANTED);
    return new DeviceCheck(
        "machine code of " + module,
        wrong.isEmpty() ? good : String.join("; ", wrong),
        wrong.isEmpty());
  }
}
