package dev.gatun.models.vae;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.Value;
import dev.gatun.models.Model;

/**
 * A graph in which a model is being built.
 *
 * @param network the model's
 * @param type of activations
 */
record Scope(Graph graph, Model.Weights weights, VaeNetwork network, DType type) {
  Value apply(Op op, Value... inputs) {
    return graph.apply(op, inputs);
  }
}
