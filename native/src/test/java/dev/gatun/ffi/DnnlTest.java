package dev.gatun.ffi;

import static dev.gatun.ffi.onednn.OneDnn.*;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.ffi.DnnlPrimitive.ConvGeometry;
import java.nio.file.Files;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class DnnlTest {
  /** The bindings look their names up in the library that is open. */
  @BeforeAll
  static void open() {
    Dnnl.library();
  }

  @Test
  void theLibraryOpenedIsTheOneOfTheJar() {
    assertTrue(Files.isReadable(Dnnl.library().file()));
    assertTrue(Dnnl.library().toString().contains("libdnnl.so.3"), Dnnl.library().toString());
    if (System.getProperty("gatun.dnnl") == null) {
      assertEquals("3.13.0", Dnnl.version().replaceAll("\\d+$", "0"));
    }
    assertNotNull(Dnnl.isa());
  }

  /** What ONEDNN_MAX_CPU_ISA hides is not reported. */
  @Test
  void theInstructionSetIsTheOneAllowed() {
    String limit = System.getenv("ONEDNN_MAX_CPU_ISA");
    if ("AVX2".equals(limit)) {
      assertEquals(Dnnl.Isa.BELOW_AVX512, Dnnl.isa());
    }
    if ("AVX512_CORE".equals(limit)) {
      assertTrue(Dnnl.isa().compareTo(Dnnl.Isa.AVX512) <= 0);
    }
  }

  @Test
  void statusesHaveWordsAndNameTheCall() {
    Dnnl.check(0, "dnnl_fine");
    String[] words = {"out of memory", "invalid arguments", "not implemented on this CPU"};
    int[] statuses = {dnnl_out_of_memory(), dnnl_invalid_arguments(), dnnl_unimplemented()};
    for (int i = 0; i < 3; i++) {
      int status = statuses[i];
      DnnlException e = assertThrows(DnnlException.class, () -> Dnnl.check(status, "dnnl_call"));
      assertTrue(e.getMessage().startsWith("dnnl_call returned " + status + " ("), e.getMessage());
      assertTrue(e.getMessage().contains(words[i]), e.getMessage());
      assertEquals(1, e.getMessage().lines().count());
      assertEquals(status == dnnl_unimplemented(), e.isUnimplemented());
    }
    assertThrows(DnnlException.class, () -> Dnnl.check(99, "dnnl_call"));
  }

  @Test
  void aConvolutionThatMakesNoSenseIsAnErrorThatNamesIt() {
    try (Dnnl dnnl = new Dnnl();
        DnnlDesc x =
            DnnlDesc.strided(dnnl_f32(), new long[] {1, 3, 4, 4}, new long[] {48, 1, 12, 3});
        DnnlDesc w = DnnlDesc.any(dnnl_f32(), new long[] {2, 5, 3, 3});
        DnnlDesc y =
            DnnlDesc.strided(dnnl_f32(), new long[] {1, 2, 4, 4}, new long[] {32, 1, 8, 2})) {
      DnnlException e =
          assertThrows(
              DnnlException.class,
              () ->
                  DnnlPrimitive.convolutionForward(
                      dnnl, false, x, w, null, y, new ConvGeometry(1, 1, 0, 0, 1, 1, 1, 1), null));
      assertTrue(e.getMessage().contains("convolution forward"), e.getMessage());
      assertFalse(e.isUnimplemented());
    }
  }

  @Test
  void enginesComeAndGo() {
    for (int i = 0; i < 100; i++) {
      new Dnnl().close();
    }
  }
}
