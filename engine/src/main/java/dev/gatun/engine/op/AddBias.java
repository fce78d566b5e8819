package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Adds a row of a table to every position of an image: y[n,...,c] = x[n,...,c] +
 * table[labels[n],c]. A table of one row is a bias a channel and takes no labels.
 *
 * <p>Inputs: x [N,...,C] f32 or bf16; table [L,C] f32, L at most 256; where L > 1, labels [N] u8,
 * each below L. Output: like x.
 *
 * @see "van den Oord et al. 2016, Conditional Image Generation with PixelCNN Decoders, section 2.3"
 */
public record AddBias() implements Op {
  @Override
  public String name() {
    return "add_bias";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 2, 3);
    TensorSpec x = in.get(0);
    TensorSpec table = in.get(1);
    Checks.activation(this, in, x);
    require(x.shape().rank() >= 2, in, "x must be [N,...,C]");
    require(table.shape().rank() == 2 && table.dtype() == DType.F32, in, "table must be [L,C] f32");
    require(
        table.shape().dim(1) == x.shape().dim(-1),
        in,
        "table is for C=" + table.shape().dim(1) + ", x has C=" + x.shape().dim(-1));
    int rows = table.shape().dim(0);
    require(rows >= 1 && rows <= 256, in, "table must have 1 to 256 rows");
    require(in.size() == (rows > 1 ? 3 : 2), in, "takes labels where the table has several rows");
    if (rows > 1) {
      TensorSpec labels = TensorSpec.of(DType.U8, x.shape().dim(0));
      require(in.get(2).equals(labels), in, "labels must be " + labels);
    }
    return List.of(x);
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    Value dy = gradients.getFirst();
    List<Value> arguments = new ArrayList<>(inputs.subList(2, inputs.size()));
    arguments.addFirst(dy);
    int rows = inputs.get(1).shape().dim(0);
    Value dtable = graph.apply(new AddBiasBackward(rows), arguments).getFirst();
    return rows > 1 ? Arrays.asList(dy, dtable, null) : List.of(dy, dtable);
  }
}
