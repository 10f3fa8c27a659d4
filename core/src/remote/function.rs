//! [`Function`]: what a worker process runs, as addresses within the executable.

use std::convert::Infallible;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::bundle::{Bundle, Kind};
use super::codec::decode;
use super::port::{Kept, KeptState, Port, Stage, WholeChunk};
use super::sink::Sink;
use crate::panic::catch;
use crate::work::{Bare, Make, Plain, Trying, WithContext, WithState, Work};
use crate::{Panic, TaskErrorKind};

/// What a worker of the same binary runs: an entry of this crate, made for the types of
/// the map, and the function pointers that it calls.
///
/// Addresses mean something only inside the image that they come from. A backend sends
/// each as an offset from an anchor in the same image, and checks first that it lies
/// there (a shared library may lie elsewhere in the other process).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Function {
    addresses: [usize; Self::NUM_ADDRESSES],
}

/// The function pointers of a [`Work`]: function, init, exit; zero where there is none.
type Pointers = [usize; 3];

type Entry = fn(Pointers, &mut dyn Port);

impl Function {
    /// How many addresses a function has.
    pub const NUM_ADDRESSES: usize = 4;

    /// The addresses to send; zero means none and must stay zero.
    pub fn addresses(&self) -> [usize; Self::NUM_ADDRESSES] {
        self.addresses
    }

    /// The function with these addresses.
    ///
    /// # Safety
    ///
    /// They are what [`addresses`](Self::addresses) of a function gave in a process of
    /// the same executable, moved to where the image lies in this process.
    pub unsafe fn from_addresses(addresses: [usize; Self::NUM_ADDRESSES]) -> Self {
        Self { addresses }
    }

    /// Runs the items of `port` in order, until it has no more. Never unwinds.
    pub fn call(&self, port: &mut dyn Port) {
        let [entry, pointers @ ..] = self.addresses;
        // SAFETY: a `Function` is built from a real entry, or by `from_addresses` under
        // its condition.
        let entry = unsafe { at::<Entry>(entry) };
        entry(pointers, port);
    }

    /// Runs a chunk that is in memory as a whole, and gives its outcomes: for workers that
    /// need not know which item runs. Never unwinds.
    ///
    /// `context` and `kept` are what [`Port::context`] and [`Port::kept`] say.
    pub fn call_whole(
        &self,
        items: &Bundle,
        context: &[u8],
        kept: &mut Option<Box<dyn KeptState>>,
    ) -> Bundle {
        let mut chunk = WholeChunk::new(items, context, kept);
        self.call(&mut chunk);
        chunk.into_outcomes()
    }

    pub(crate) fn new<I, W>(work: &W) -> Self
    where
        I: DeserializeOwned + 'static,
        W: Remotable<I>,
    {
        let entry: Entry = run_items::<I, W>;
        let [function, init, exit] = work.pointers();
        Self {
            addresses: [address_of(entry), function, init, exit],
        }
    }
}

/// [`Work`] that can be rebuilt in another process of the same executable.
///
/// Not for implementing outside of this crate.
pub trait Remotable<I>:
    Work<I, Out: Serialize + DeserializeOwned + 'static> + Sized + 'static
{
    /// The function pointers that it is made of; zero where there is none.
    #[doc(hidden)]
    fn pointers(&self) -> [usize; 3];

    /// Encodes the shared value into `bundle`.
    #[doc(hidden)]
    fn encode_context(&self, bundle: &mut Bundle) -> Result<(), String>;

    /// Writes an error of the function to `sink`.
    #[doc(hidden)]
    fn encode_error(error: &Self::Error, sink: &mut Sink<'_>) -> Result<(), String>;

    /// The error that `encode_error` encoded.
    #[doc(hidden)]
    fn decode_error(bytes: &[u8]) -> Result<Self::Error, String>;

    /// The same work in this process.
    ///
    /// # Safety
    ///
    /// The pointers are what [`pointers`](Self::pointers) gave for this very type, moved
    /// to this process.
    #[doc(hidden)]
    unsafe fn rebuild(pointers: [usize; 3], context: &[u8]) -> Result<Self, String>;
}

/// The address of a function pointer.
fn address_of<P: Copy>(pointer: P) -> usize {
    const { assert!(size_of::<P>() == size_of::<usize>()) };
    // SAFETY: the sizes agree, and it is called only with function pointers, bare or in a
    // transparent wrapper, which have no uninitialised bytes.
    let pointer: *const () = unsafe { std::mem::transmute_copy(&pointer) };
    // A number alone would not do to call it: `at` picks the provenance up again.
    pointer.expose_provenance()
}

/// The function pointer at an address.
///
/// # Safety
///
/// The address is that of a function of type `P` in this process.
unsafe fn at<P: Copy>(address: usize) -> P {
    const { assert!(size_of::<P>() == size_of::<usize>()) };
    assert_ne!(address, 0, "a function of the map has no address");
    let pointer = std::ptr::with_exposed_provenance::<()>(address);
    // SAFETY: the sizes agree, and the caller vouches for the address.
    unsafe { std::mem::transmute_copy(&pointer) }
}

/// The entry of a worker: decodes, calls and encodes each item of the port.
fn run_items<I, W>(pointers: Pointers, port: &mut dyn Port)
where
    I: DeserializeOwned + 'static,
    W: Remotable<I>,
{
    let kept = port.kept().take().and_then(Kept::<I, W>::downcast);
    let kept = match kept {
        Some(kept) => Ok(kept),
        None => rebuild::<I, W>(pointers, port.context()).map(Kept::new),
    };
    match kept {
        Ok(mut kept) => {
            while let Err(panic) = run_until_panic(&mut kept, port) {
                kept.note_panic(&panic, port);
            }
            *port.kept() = Some(Box::new(kept));
        }
        Err(why) => {
            let why = format!("the context of the map: {why}");
            while let Some(mut run) = port.run() {
                while run.begin().is_some() {
                    run.sink().put_message(Kind::NotDecodable, &why);
                    run.end();
                }
            }
        }
    }
}

/// The work of the map, in this process.
fn rebuild<I, W: Remotable<I>>(pointers: Pointers, context: &[u8]) -> Result<W, String> {
    // SAFETY: the entry that calls this is made for `W`, and travels in one `Function` with the
    // pointers of a `W`.
    let rebuilt = catch(|| unsafe { W::rebuild(pointers, context) });
    rebuilt.unwrap_or_else(|panic| Err(format!("decoding panicked: {panic}")))
}

/// Runs items until there are no more, or something of the user's panics. One fence for
/// many items: setting it up for each costs as much as a small item.
fn run_until_panic<I, W>(kept: &mut Kept<I, W>, port: &mut dyn Port) -> Result<(), Panic>
where
    I: DeserializeOwned + 'static,
    W: Remotable<I>,
{
    catch(|| {
        while kept.start(port)
            && let Some(mut run) = port.run()
        {
            while let Some(bytes) = run.begin() {
                kept.stage = Stage::Decoding;
                let outcome = match decode::<I>(bytes) {
                    Ok(item) => Ok(kept.call(item)),
                    Err(why) => Err(why),
                };
                kept.stage = Stage::Encoding;
                let mut sink = run.sink();
                let encoded = match &outcome {
                    Ok(Ok(value)) => sink.put(Kind::Value, value),
                    Ok(Err(error)) => W::encode_error(error, &mut sink),
                    Err(why) => {
                        sink.put_message(Kind::NotDecodable, why);
                        Ok(())
                    }
                };
                if let Err(why) = encoded {
                    sink.put_message(Kind::NotEncodable, &why);
                }
                kept.stage = Stage::Between;
                // As a part of the item: what it does to the process is this item's end.
                drop(outcome);
                run.end();
            }
        }
    })
}

/// How an item ended in a worker, from what the worker wrote.
pub(crate) fn read_outcome<I, W: Remotable<I>>(
    kind: Option<Kind>,
    bytes: &[u8],
) -> Result<W::Out, TaskErrorKind<W::Error>> {
    let decoded = catch(|| match kind {
        Some(Kind::Value) => decode(bytes).map(Ok),
        Some(Kind::Failed) => W::decode_error(bytes).map(|error| Err(TaskErrorKind::Failed(error))),
        Some(Kind::Panicked) => decode(bytes).map(|(message, location, backtrace)| {
            Err(TaskErrorKind::Panicked(Panic::from_parts(
                message, location, backtrace,
            )))
        }),
        Some(Kind::NotDecodable) => decode(bytes).map(|why| Err(TaskErrorKind::NotDecodable(why))),
        Some(Kind::NotEncodable) => decode(bytes).map(|why| Err(TaskErrorKind::NotEncodable(why))),
        None => Err("an outcome of an unknown kind".to_owned()),
    });
    match decoded {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(why)) => Err(TaskErrorKind::NotDecodable(why)),
        Err(panic) => Err(TaskErrorKind::NotDecodable(format!(
            "decoding panicked: {panic}"
        ))),
    }
}

impl<I, R, E> Remotable<I> for Trying<fn(I) -> Result<R, E>>
where
    I: 'static,
    R: Serialize + DeserializeOwned + 'static,
    E: Serialize + DeserializeOwned + 'static,
{
    fn pointers(&self) -> [usize; 3] {
        [address_of(self.0), 0, 0]
    }

    fn encode_context(&self, _: &mut Bundle) -> Result<(), String> {
        Ok(())
    }

    fn encode_error(error: &E, sink: &mut Sink<'_>) -> Result<(), String> {
        sink.put(Kind::Failed, error)
    }

    fn decode_error(bytes: &[u8]) -> Result<E, String> {
        decode(bytes)
    }

    unsafe fn rebuild([function, ..]: [usize; 3], _: &[u8]) -> Result<Self, String> {
        // SAFETY: the caller vouches for the pointers.
        Ok(Self(unsafe { at(function) }))
    }
}

impl<I, R> Remotable<I> for Plain<fn(I) -> R>
where
    I: 'static,
    R: Serialize + DeserializeOwned + 'static,
{
    fn pointers(&self) -> [usize; 3] {
        [address_of(self.0), 0, 0]
    }

    fn encode_context(&self, _: &mut Bundle) -> Result<(), String> {
        Ok(())
    }

    fn encode_error(error: &Infallible, _: &mut Sink<'_>) -> Result<(), String> {
        match *error {}
    }

    fn decode_error(_: &[u8]) -> Result<Infallible, String> {
        Err("a function that cannot fail has failed".to_owned())
    }

    unsafe fn rebuild([function, ..]: [usize; 3], _: &[u8]) -> Result<Self, String> {
        // SAFETY: the caller vouches for the pointers.
        Ok(Self(unsafe { at(function) }))
    }
}

/// A function pointer that makes a worker's state.
///
/// Not for implementing outside of this crate: `Self` is taken for one function pointer.
pub trait InitPointer<C>: Make<C> + Copy + 'static {}

impl<C: 'static, S: 'static> InitPointer<C> for fn(&C) -> S {}

impl<S: 'static> InitPointer<()> for Bare<fn() -> S> {}

/// The two shapes with a context differ only in whether the function can fail.
macro_rules! with_context {
    ($shape:ident, $error:ty, [$($generic:ident)?], $returns:ty) => {
        impl<I, R, $($generic,)? C> Remotable<I> for WithContext<C, $shape<fn(&C, I) -> $returns>>
        where
            I: 'static,
            R: Serialize + DeserializeOwned + 'static,
            C: Serialize + DeserializeOwned + Send + Sync + 'static,
            $($generic: Serialize + DeserializeOwned + 'static,)?
        {
            fn pointers(&self) -> [usize; 3] {
                [address_of(self.function.0), 0, 0]
            }

            fn encode_context(&self, bundle: &mut Bundle) -> Result<(), String> {
                bundle.push(&self.context)
            }

            fn encode_error(error: &$error, sink: &mut Sink<'_>) -> Result<(), String> {
                <$shape<fn(()) -> $returns> as Remotable<()>>::encode_error(error, sink)
            }

            fn decode_error(bytes: &[u8]) -> Result<$error, String> {
                <$shape<fn(()) -> $returns> as Remotable<()>>::decode_error(bytes)
            }

            unsafe fn rebuild([function, ..]: [usize; 3], context: &[u8]) -> Result<Self, String> {
                Ok(Self {
                    context: decode(context)?,
                    // SAFETY: the caller vouches for the pointers.
                    function: $shape(unsafe { at(function) }),
                })
            }
        }

        impl<I, R, $($generic,)? C, S, Init> Remotable<I>
            for WithState<C, Init, fn(S), $shape<fn(&mut S, I) -> $returns>>
        where
            Init: InitPointer<C, State = S>,
            I: 'static,
            R: Serialize + DeserializeOwned + 'static,
            C: Serialize + DeserializeOwned + Send + Sync + 'static,
            S: 'static,
            $($generic: Serialize + DeserializeOwned + 'static,)?
        {
            fn pointers(&self) -> [usize; 3] {
                [
                    address_of(self.function.0),
                    address_of(self.init),
                    address_of(self.exit),
                ]
            }

            fn encode_context(&self, bundle: &mut Bundle) -> Result<(), String> {
                bundle.push(&self.context)
            }

            fn encode_error(error: &$error, sink: &mut Sink<'_>) -> Result<(), String> {
                <$shape<fn(()) -> $returns> as Remotable<()>>::encode_error(error, sink)
            }

            fn decode_error(bytes: &[u8]) -> Result<$error, String> {
                <$shape<fn(()) -> $returns> as Remotable<()>>::decode_error(bytes)
            }

            unsafe fn rebuild(
                [function, init, exit]: [usize; 3],
                context: &[u8],
            ) -> Result<Self, String> {
                Ok(Self {
                    context: decode(context)?,
                    // SAFETY: the caller vouches for the pointers.
                    init: unsafe { at(init) },
                    // SAFETY: as above.
                    exit: unsafe { at(exit) },
                    // SAFETY: as above.
                    function: $shape(unsafe { at(function) }),
                })
            }
        }
    };
}

with_context!(Plain, Infallible, [], R);
with_context!(Trying, E, [E], Result<R, E>);
