package dev.gatun.models;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.MapperFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.exc.ValueInstantiationException;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.RecordComponent;
import java.util.Arrays;
import java.util.List;

/** Configurations are records: here they meet text and JSON. */
public final class Records {
  /** Strict: every component, and nothing else. */
  private static final ObjectMapper STRICT =
      JsonMapper.builder()
          .enable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
          .enable(DeserializationFeature.FAIL_ON_MISSING_CREATOR_PROPERTIES)
          .enable(DeserializationFeature.FAIL_ON_NULL_FOR_PRIMITIVES)
          .disable(DeserializationFeature.ACCEPT_FLOAT_AS_INT)
          .disable(MapperFeature.ALLOW_COERCION_OF_SCALARS)
          .build();

  private Records() {}

  static List<String> keys(Record config) {
    return Arrays.stream(config.getClass().getRecordComponents())
        .map(RecordComponent::getName)
        .toList();
  }

  /** The record with one component parsed from text. */
  static Record with(Record config, String key, String value) {
    RecordComponent[] components = config.getClass().getRecordComponents();
    Class<?>[] types = new Class<?>[components.length];
    Object[] values = new Object[components.length];
    try {
      for (int i = 0; i < components.length; i++) {
        types[i] = components[i].getType();
        values[i] =
            components[i].getName().equals(key)
                ? parse(key, value, types[i])
                : components[i].getAccessor().invoke(config);
      }
      return config.getClass().getDeclaredConstructor(types).newInstance(values);
    } catch (InvocationTargetException e) {
      throw e.getCause() instanceof IllegalArgumentException refused
          ? new IllegalArgumentException(key + "=" + value + ": " + refused.getMessage(), refused)
          : new IllegalStateException(e.getCause());
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException(e);
    }
  }

  private static Object parse(String key, String value, Class<?> type) {
    try {
      if (type == int.class) {
        return Integer.valueOf(value);
      }
      if (type == long.class) {
        return Long.valueOf(value);
      }
      if (type == double.class) {
        return Double.valueOf(value);
      }
    } catch (NumberFormatException e) {
      throw new IllegalArgumentException(
          key
              + "="
              + value
              + ": expected "
              + (type == double.class ? "a number" : "a whole number"),
          e);
    }
    throw new IllegalStateException(key + " is of " + type + ", which has no text form");
  }

  /** A record as a JSON object. */
  public static JsonNode toJson(Object config) {
    return STRICT.valueToTree(config);
  }

  /**
   * A record from a JSON object with exactly its components.
   *
   * @throws IllegalArgumentException in one line if it is not
   */
  public static <T> T fromJson(JsonNode json, Class<T> type) {
    try {
      return STRICT.treeToValue(json, type);
    } catch (ValueInstantiationException e) {
      throw new IllegalArgumentException(
          e.getCause() instanceof IllegalArgumentException refused
              ? refused.getMessage()
              : e.getOriginalMessage(),
          e);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException(
          e.getOriginalMessage().lines().findFirst().orElse("malformed"), e);
    }
  }
}
