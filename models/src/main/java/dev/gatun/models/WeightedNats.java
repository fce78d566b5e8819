package dev.gatun.models;

import dev.gatun.engine.Graph;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.ImportanceBound;
import java.util.ArrayList;
import java.util.List;

/**
 * A sum of terms, each with its factor, and of a constant: nats of images, or of several samples of
 * each.
 *
 * @param terms [S*N] f32 each, sample s of image n at s*N + n
 */
public record WeightedNats(List<Value> terms, List<Double> factors, double constant) {
  public WeightedNats {
    terms = List.copyOf(terms);
    factors = List.copyOf(factors);
  }

  /** One term. */
  public static WeightedNats of(Value term, double factor) {
    return new WeightedNats(List.of(term), List.of(factor), 0);
  }

  /** The sum with more behind it. */
  public WeightedNats plus(WeightedNats more) {
    List<Value> allTerms = new ArrayList<>(terms);
    allTerms.addAll(more.terms);
    List<Double> allFactors = new ArrayList<>(factors);
    allFactors.addAll(more.factors);
    return new WeightedNats(allTerms, allFactors, constant + more.constant);
  }

  /**
   * The bound by so many samples of each image, but for the constant.
   *
   * @return the mean over the images [1] f32, which has a gradient, and each image's [N] f32
   * @see ImportanceBound
   */
  public List<Value> bound(Graph graph, int samples) {
    return graph.apply(new ImportanceBound(samples, factors), terms);
  }

  /** The mean over all rows, but for the constant; [1] f32. */
  public Value mean(Graph graph) {
    return bound(graph, 1).getFirst();
  }
}
