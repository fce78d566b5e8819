package dev.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SassCheckTest {
  private static final String GOOD =
      """
          Function : conv_taps_f32_64x32
            /*0000*/ FFMA R1, R2, R3, R4 ;
          Function : conv_taps_bf16_64x32
            /*0000*/ LDGSTS.E.BYPASS.128 [R1], [R2] ;
            /*0010*/ LDSM.16.M88.4 R4, [R5] ;
            /*0020*/ HMMA.16816.F32.BF16 R8, R4, R6, R8 ;
      """;

  @Test
  void tensorCoresAreSeen() {
    DeviceCheck check = SassCheck.check("conv_taps", GOOD);
    assertTrue(check.passed(), check.detail());
    assertTrue(check.detail().startsWith("1 kernels with HMMA"), check.detail());
  }

  @Test
  void whatIsNotThereIsNamed() {
    for (String opcode : List.of("HMMA.16816.F32.BF16", "LDSM", "LDGSTS")) {
      DeviceCheck check = SassCheck.check("conv_taps", GOOD.replace(opcode, "MOV"));
      assertFalse(check.passed());
      assertEquals("conv_taps_bf16_64x32 has no " + opcode, check.detail());
    }
    DeviceCheck spills = SassCheck.check("conv_taps", GOOD + "  /*0030*/ STL [R1], R2 ;\n");
    assertEquals("conv_taps_bf16_64x32 has STL", spills.detail());
    assertFalse(SassCheck.check("conv_taps", "nothing").passed());
    // single elements are not copied asynchronously, and need not be
    String any = GOOD.replace("conv_taps_bf16_64x32", "conv_weights_bf16_any");
    assertTrue(SassCheck.check("conv_weights", any.replace("LDGSTS", "LDG")).passed());
    assertFalse(SassCheck.check("conv_weights", any.replace("LDSM", "LDS")).passed());
  }

  @Test
  void aToolThatFailsIsTold(@TempDir Path folder) throws Exception {
    Path tool = folder.resolve("cuobjdump");
    Files.writeString(tool, "#!/bin/sh\necho no such format\nexit 3\n");
    assertTrue(tool.toFile().setExecutable(true));
    List<DeviceCheck> checks = new SassCheck(tool).run();
    assertEquals(2, checks.size());
    for (DeviceCheck check : checks) {
      assertFalse(check.passed());
      assertTrue(
          check.detail().contains("failed: no such format")
              || check.detail().contains("was not built"),
          check.detail());
    }
  }
}
