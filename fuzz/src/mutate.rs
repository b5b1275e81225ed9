//! Changes a record in its structure, so that it still parses: what else a producer, a re-export or an attacker writes.

use serde_json::{Map, Value};

/// The numbers behind one change.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides.max(1)
    }
}

/// Changes the structure every other time, where there is one and it fits, and bytes else. The new size.
pub fn either(
    data: &mut [u8],
    size: usize,
    max_size: usize,
    seed: u32,
    bytes: fn(&mut [u8], usize, usize) -> usize,
) -> usize {
    let changed = (seed % 2 == 0)
        .then(|| json(&data[..size], seed / 2))
        .flatten();
    match changed.filter(|changed| changed.len() <= max_size) {
        Some(changed) => {
            data[..changed.len()].copy_from_slice(&changed);
            changed.len()
        }
        None => bytes(data, size, max_size),
    }
}

/// A line of the input with one to four changes; `None` where it has no JSON.
pub fn json(data: &[u8], seed: u32) -> Option<Vec<u8>> {
    let mut dice = Dice(u64::from(seed));
    let mut lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let at = dice.roll(lines.len());
    let mut value: Value = serde_json::from_slice(lines[at]).ok()?;
    for _ in 0..=dice.roll(4) {
        let places = count(&value);
        let mut place = dice.roll(places);
        change(&mut value, &mut place, &mut dice);
    }
    let changed = value.to_string();
    lines[at] = changed.as_bytes();
    Some(lines.join(&b'\n'))
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum::<usize>(),
        _ => 0,
    }
}

/// Walks to a place, counted down to zero, and changes what stands there.
fn change(value: &mut Value, place: &mut usize, dice: &mut Dice) -> bool {
    if *place == 0 {
        *value = changed(value.take(), dice);
        return true;
    }
    *place -= 1;
    match value {
        Value::Array(items) => items.iter_mut().any(|item| change(item, place, dice)),
        Value::Object(fields) => fields.values_mut().any(|field| change(field, place, dice)),
        _ => false,
    }
}

fn changed(value: Value, dice: &mut Dice) -> Value {
    const NUMBERS: [i64; 8] = [
        0,
        -1,
        1,
        429,
        i64::MAX,
        i64::MIN,
        1 << 53,
        1_772_445_600_000,
    ];
    match (dice.roll(14), value) {
        (0, _) => Value::Null,
        (1, _) => NUMBERS[dice.roll(NUMBERS.len())].into(),
        (2, _) => u64::MAX.into(),
        (3, _) => [0.5, -1e300, 1e17][dice.roll(3)].into(),
        (4, _) => Value::from(""),
        (5, _) => Value::Bool(dice.roll(2) == 0),
        (6, value) => Value::from(value.to_string()),
        (7, value) => Value::Array(vec![value.clone(), value]),
        (8, value) => Value::Object(Map::from_iter([("value".to_owned(), value)])),
        (9, Value::String(text)) => {
            let keep = dice.roll(text.chars().count() + 1);
            text.chars().take(keep).collect::<String>().into()
        }
        (10, Value::String(text)) => text.chars().rev().collect::<String>().into(),
        (9..=11, Value::Array(mut items)) if !items.is_empty() => {
            let (from, to) = (dice.roll(items.len()), dice.roll(items.len()));
            match dice.roll(3) {
                0 => drop(items.remove(from)),
                1 => items.push(items[from].clone()),
                _ => items.swap(from, to),
            }
            Value::Array(items)
        }
        (9..=12, Value::Object(mut fields)) if !fields.is_empty() => {
            let keys: Vec<String> = fields.keys().cloned().collect();
            let (key, other) = (&keys[dice.roll(keys.len())], &keys[dice.roll(keys.len())]);
            match dice.roll(4) {
                0 => drop(fields.shift_remove(key)),
                1 => {
                    let moved = fields[key].clone();
                    fields.insert(other.clone(), moved);
                }
                2 => {
                    let copy = fields[key].clone();
                    fields.insert(key.to_ascii_uppercase(), copy);
                }
                _ => {
                    let (one, two) = (fields[key].take(), fields[other].take());
                    fields.insert(key.clone(), two);
                    fields.insert(other.clone(), one);
                }
            }
            Value::Object(fields)
        }
        (_, value) => value,
    }
}
