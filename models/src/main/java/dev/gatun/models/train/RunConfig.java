package dev.gatun.models.train;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.gatun.engine.DType;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.io.AtomicFile;
import dev.gatun.engine.io.FormatException;
import dev.gatun.models.Model;
import dev.gatun.models.Models;
import dev.gatun.models.Models.Preset;
import dev.gatun.models.Records;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * What config.json holds: everything that decides a run but the data themselves.
 *
 * @param gatun the version that started the run
 * @param preset what the configuration started from
 * @param model with its configuration
 * @param training how it is trained
 * @param data what it is trained on
 */
public record RunConfig(
    String gatun, Preset preset, Model model, TrainConfig training, DataSummary data) {
  private static final long MAX_BYTES = 1 << 20;
  private static final ObjectMapper JSON = new ObjectMapper();

  /**
   * The training images.
   *
   * @param path as it was given
   * @param name the dataset's own
   * @param splitSeed chose the held-out images where the source has no split of its own
   */
  public record DataSummary(
      String path,
      String name,
      int images,
      int height,
      int width,
      int channels,
      int classes,
      long splitSeed) {
    public static DataSummary of(Path path, Dataset data, long splitSeed) {
      return new DataSummary(
          path.toString(),
          data.name(),
          data.count(),
          data.height(),
          data.width(),
          data.channels(),
          data.classes(),
          splitSeed);
    }
  }

  /** The same run trained otherwise from now on. */
  public RunConfig withTraining(TrainConfig changed) {
    return new RunConfig(gatun, preset, model, changed, data);
  }

  void write(Path file) throws IOException {
    ObjectNode training = (ObjectNode) Records.toJson(training());
    training.remove("dtype");
    training.remove("seed");
    ObjectNode all = JsonNodeFactory.instance.objectNode();
    all.put("gatun", gatun);
    all.put("model", model.name());
    all.put("preset", preset.label());
    all.put("dtype", training().dtype().label());
    all.put("seed", training().seed());
    all.set("config", Records.toJson(model.config()));
    all.set("training", training);
    all.set("data", Records.toJson(data));
    AtomicFile.write(file, (all.toPrettyString() + "\n").getBytes(StandardCharsets.UTF_8));
  }

  /**
   * Reads config.json.
   *
   * @throws FormatException in one line if it is damaged or of a model this version does not know
   */
  static RunConfig read(Path file) throws IOException {
    if (Files.size(file) > MAX_BYTES) {
      throw damaged(file, "larger than any config.json", null);
    }
    try {
      JsonNode all = JSON.readTree(Files.readAllBytes(file));
      if (all == null || !all.isObject()) {
        throw new IllegalArgumentException("not a JSON object");
      }
      ObjectNode training = object(all, "training").deepCopy();
      training.put("dtype", DType.fromLabel(text(all, "dtype")).name());
      training.set("seed", required(all, "seed"));
      return new RunConfig(
          text(all, "gatun"),
          Preset.fromLabel(text(all, "preset")),
          Models.fromJson(text(all, "model"), object(all, "config")),
          Records.fromJson(training, TrainConfig.class),
          Records.fromJson(object(all, "data"), DataSummary.class));
    } catch (JsonProcessingException e) {
      throw damaged(file, "not JSON: " + e.getOriginalMessage(), e);
    } catch (IllegalArgumentException e) {
      throw damaged(file, e.getMessage(), e);
    }
  }

  private static FormatException damaged(Path file, String problem, Exception cause) {
    return new FormatException(
        file, problem, "put the run's own file back, or train again in another folder", cause);
  }

  private static JsonNode required(JsonNode all, String key) {
    JsonNode value = all.get(key);
    if (value == null) {
      throw new IllegalArgumentException("has no '" + key + "'");
    }
    return value;
  }

  private static String text(JsonNode all, String key) {
    JsonNode value = required(all, key);
    if (!value.isTextual()) {
      throw new IllegalArgumentException("'" + key + "' is not a string");
    }
    return value.textValue();
  }

  private static ObjectNode object(JsonNode all, String key) {
    if (required(all, key) instanceof ObjectNode object) {
      return object;
    }
    throw new IllegalArgumentException("'" + key + "' is not an object");
  }
}
