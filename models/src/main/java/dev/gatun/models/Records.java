package dev.gatun.models;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.MapperFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.cfg.EnumFeature;
import com.fasterxml.jackson.databind.exc.ValueInstantiationException;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.RecordComponent;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;

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
          .enable(MapperFeature.ACCEPT_CASE_INSENSITIVE_ENUMS)
          .enable(EnumFeature.WRITE_ENUMS_TO_LOWERCASE)
          .build();

  private Records() {}

  /** Names of the components, those of records among them in their place. */
  static List<String> keys(Record config) {
    return keys(config.getClass()).toList();
  }

  private static Stream<String> keys(Class<?> record) {
    return Arrays.stream(record.getRecordComponents())
        .flatMap(c -> c.getType().isRecord() ? keys(c.getType()) : Stream.of(c.getName()));
  }

  /** The record with other components, those of records in it among them, parsed from text. */
  static Record with(Record config, Map<String, String> changes) {
    if (changes.isEmpty()) {
      return config;
    }
    RecordComponent[] components = config.getClass().getRecordComponents();
    Class<?>[] types = new Class<?>[components.length];
    Object[] values = new Object[components.length];
    try {
      for (int i = 0; i < components.length; i++) {
        types[i] = components[i].getType();
        Object now = components[i].getAccessor().invoke(config);
        if (types[i].isRecord()) {
          Map<String, String> inside = new LinkedHashMap<>(changes);
          inside.keySet().retainAll(keys(types[i]).toList());
          values[i] = with((Record) now, inside);
        } else {
          String name = components[i].getName();
          values[i] = changes.containsKey(name) ? parse(name, changes.get(name), types[i]) : now;
        }
      }
      return config.getClass().getDeclaredConstructor(types).newInstance(values);
    } catch (InvocationTargetException e) {
      throw e.getCause() instanceof IllegalArgumentException refused
          ? new IllegalArgumentException(text(changes) + ": " + refused.getMessage(), refused)
          : new IllegalStateException(e.getCause());
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException(e);
    }
  }

  private static String text(Map<String, String> changes) {
    return changes.entrySet().stream()
        .map(change -> change.getKey() + "=" + change.getValue())
        .collect(Collectors.joining(", "));
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
      if (type == String.class) {
        return value;
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
    if (type == boolean.class) {
      return choice(key, value, List.of(true, false));
    }
    if (type.isEnum()) {
      return choice(key, value, List.of(type.getEnumConstants()));
    }
    throw new IllegalStateException(key + " is of " + type + ", which has no text form");
  }

  private static Object choice(String key, String value, List<?> choices) {
    List<String> labels = choices.stream().map(c -> c.toString().toLowerCase(Locale.ROOT)).toList();
    int index = labels.indexOf(value);
    if (index < 0) {
      throw new IllegalArgumentException(
          key + "=" + value + ": expected " + String.join(" or ", labels));
    }
    return choices.get(index);
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
