package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.List;

/**
 * The order of colours within a pixel: at the tap {@code centre} a weight from colour a to colour b
 * becomes zero unless a < b (mask A, {@code strict}) or a <= b (mask B); other taps stay as they
 * are.
 *
 * <p>Input: w [T,C,K] f32; the first C - free input channels and the K output channels are {@code
 * colours} equal blocks each, in the order of the colours. Output: like w.
 *
 * @param free how many of the last input channels reach every output: 1 where there is a channel of
 *     ones, else 0
 * @see "van den Oord et al. 2016, Pixel Recurrent Neural Networks, section 3.4, figure 2"
 */
public record MaskChannels(int centre, int colours, boolean strict, int free) implements Op {
  @Override
  public String name() {
    return "mask_channels";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 1, 1);
    TensorSpec w = in.getFirst();
    require(w.shape().rank() == 3 && w.dtype() == DType.F32, in, "w must be [T,C,K] f32");
    require(w.shape().elements() > 0, in, "empty input");
    int taps = w.shape().dim(0);
    require(centre >= 0 && centre < taps, in, "centre=" + centre + " of " + taps + " taps");
    require(free == 0 || free == 1, in, "free must be 0 or 1, not " + free);
    require(colours > 0, in, "colours must be positive");
    int channels = w.shape().dim(1) - free;
    require(
        channels > 0 && channels % colours == 0,
        in,
        channels + " input channels not divisible by colours=" + colours);
    require(
        w.shape().dim(2) % colours == 0,
        in,
        w.shape().dim(2) + " output channels not divisible by colours=" + colours);
    return in;
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    return List.of(graph.apply(this, gradients.getFirst()));
  }
}
