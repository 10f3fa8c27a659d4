//! How values travel: numbers and vectors of numbers with a fixed width, all else as postcard.
//!
//! postcard writes a number as one to nineteen bytes, one after the other, and serde hands
//! over a `Vec<u8>` byte by byte. For items that are no more than that, this costs more than
//! everything else on their way. Which of the two it is depends on the type alone, so both
//! ends agree.

use std::any::{Any, type_name};

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Where encoded bytes go.
pub(super) trait Output {
    fn extend(&mut self, bytes: &[u8]);
}

impl Output for Vec<u8> {
    #[inline]
    fn extend(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Appends a value to `output`; on an error, perhaps a part of it.
#[inline]
pub(super) fn encode<T: Serialize + 'static>(
    value: &T,
    output: &mut impl Output,
) -> Result<(), String> {
    match encode_fixed(value, output) {
        true => Ok(()),
        false => encode_any(value, output),
    }
}

/// The same for values that borrow; never of a fixed width.
#[inline]
pub(super) fn encode_any<T: Serialize + ?Sized>(
    value: &T,
    output: &mut impl Output,
) -> Result<(), String> {
    postcard::serialize_with_flavor(value, Appending(output))
        .map_err(|error| format!("{}: {error}", type_name::<T>()))
}

/// Decodes a value that must fill `bytes` to the end.
#[inline]
pub(super) fn decode<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<T, String> {
    let failed = |why: &dyn std::fmt::Display| Err(format!("{}: {why}", type_name::<T>()));
    match decode_fixed(bytes) {
        Some(Some(value)) => return Ok(value),
        Some(None) => return failed(&format_args!("it cannot have {} bytes", bytes.len())),
        None => {}
    }
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => failed(&format_args!("{} bytes are left over", rest.len())),
        Err(error) => failed(&error),
    }
}

/// The comparisons of types are made when this is compiled. In the byte order of the machine:
/// both ends are one executable.
macro_rules! fixed_width {
    ($($number:ty)*) => {
        /// Whether the value is of a type with a fixed width; if so, appends it.
        #[inline]
        fn encode_fixed<T: 'static>(value: &T, output: &mut impl Output) -> bool {
            let value: &dyn Any = value;
            $(
                if let Some(number) = value.downcast_ref::<$number>() {
                    output.extend(&number.to_ne_bytes());
                    return true;
                }
                if let Some(numbers) = value.downcast_ref::<Vec<$number>>() {
                    output.extend(bytemuck::cast_slice(numbers));
                    return true;
                }
            )*
            false
        }

        /// The value, if the type has a fixed width; inside, `None` if the length is wrong.
        #[inline]
        fn decode_fixed<T: 'static>(bytes: &[u8]) -> Option<Option<T>> {
            let mut value: Option<T> = None;
            let place: &mut dyn Any = &mut value;
            $(
                if let Some(place) = place.downcast_mut::<Option<$number>>() {
                    *place = bytes.try_into().ok().map(<$number>::from_ne_bytes);
                    return Some(value);
                }
                if let Some(place) = place.downcast_mut::<Option<Vec<$number>>>() {
                    let is_whole = bytes.len().is_multiple_of(size_of::<$number>());
                    *place = is_whole.then(|| bytemuck::pod_collect_to_vec(bytes));
                    return Some(value);
                }
            )*
            None
        }
    };
}

fixed_width!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64);

/// An output, as postcard wants it. (Its own `to_extend` takes the vector by value and
/// extends it byte by byte.)
struct Appending<'a, O>(&'a mut O);

impl<O: Output> Flavor for Appending<'_, O> {
    type Output = ();

    /// Most pieces are those of one number that was just written byte by byte. A copy of any
    /// size is a call, and a wide load of bytes that were stored one by one has to wait for
    /// all of them: either costs as much as the rest of a small item.
    #[inline]
    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        const SMALL: usize = 10;
        if data.len() > SMALL {
            self.0.extend(data);
        } else {
            data.iter().for_each(|byte| self.0.extend(&[*byte]));
        }
        Ok(())
    }

    #[inline]
    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.extend(&[data]);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back<T>(value: T)
    where
        T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug + 'static,
    {
        let mut bytes = vec![7];
        encode(&value, &mut bytes).unwrap();
        assert_eq!(decode::<T>(&bytes[1..]), Ok(value));
        bytes.push(0);
        let error = decode::<T>(&bytes[1..]).unwrap_err();
        assert!(error.starts_with(type_name::<T>()), "{error}");
    }

    #[test]
    fn values_come_back_and_nothing_else_is_one() {
        there_and_back(u64::MAX);
        there_and_back(-3_i16);
        there_and_back(usize::MAX);
        there_and_back(1.5_f32);
        there_and_back(vec![1_u32, 0, u32::MAX]);
        there_and_back(vec![f64::MIN, 0.0]);
        there_and_back("text".to_owned());
        there_and_back((1_u64, Some(vec![2_u8])));
    }

    #[test]
    fn bytes_are_bytes() {
        let mut bytes = Vec::new();
        encode(&vec![0_u8, 200, 255], &mut bytes).unwrap();
        assert_eq!(bytes, [0, 200, 255]);
        assert_eq!(decode::<Vec<u8>>(&bytes).unwrap(), bytes);
        assert_eq!(decode::<Vec<u8>>(&[]), Ok(vec![]));
        assert_eq!(decode::<Vec<i8>>(&bytes).unwrap(), [0, -56, -1]);
    }
}
