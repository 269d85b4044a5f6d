// SPDX-License-Identifier: MIT OR Apache-2.0
//! A caller made of plain values, and calls of every shape, for tests and fuzzing.

use crate::call::*;
use crate::caller::*;
use crate::calls::call;
use crate::role;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::vec::Vec;
use tlfs::hypercall::CallCode;
use tlfs::privilege::{Privilege, PrivilegeMask};
use zerocopy::{FromZeros, IntoBytes};

/// Registers of the caller; names are those of the 64-bit mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TestRegisters {
    pub(crate) mode: CallerMode,
    pub(crate) general: [u64; 7],
    pub(crate) xmm: [u128; 6],
}

impl TestRegisters {
    /// Registers full of values that no call may confuse with parameters.
    pub(crate) fn new(mode: CallerMode) -> Self {
        Self {
            mode,
            general: std::array::from_fn(|index| 0xD1D1_0000_0000_D100 + index as u64 * 0x1_0000_0001),
            xmm: std::array::from_fn(|index| u128::MAX / 7 * (index as u128 + 1)),
        }
    }

    fn set_pair(&mut self, high: Register, low: Register, value: u64) {
        // What is above 32 bits is not part of a 32-bit caller's registers, and must not be looked at.
        self.general[high as usize] = 0xBAD0_0001_0000_0000 | value >> 32;
        self.general[low as usize] = 0xBAD0_0002_0000_0000 | value & 0xFFFF_FFFF;
    }

    pub(crate) fn set_control(&mut self, control: u64) {
        match self.mode {
            CallerMode::Bits32 => self.set_pair(Register::Rdx, Register::Rax, control),
            _ => self.general[Register::Rcx as usize] = control,
        }
    }

    pub(crate) fn set_parameters(&mut self, first: u64, second: u64) {
        match self.mode {
            CallerMode::Bits32 => {
                self.set_pair(Register::Rbx, Register::Rcx, first);
                self.set_pair(Register::Rdi, Register::Rsi, second);
            }
            _ => {
                self.general[Register::Rdx as usize] = first;
                self.general[Register::R8 as usize] = second;
            }
        }
    }

    /// The control word that another execution of the instruction would see.
    pub(crate) fn control(&self) -> u64 {
        match self.mode {
            CallerMode::Bits32 => {
                self.general[Register::Rdx as usize] << 32
                    | self.general[Register::Rax as usize] & 0xFFFF_FFFF
            }
            _ => self.general[Register::Rcx as usize],
        }
    }

    /// RAX, or EDX:EAX.
    pub(crate) fn result(&self) -> u64 {
        match self.mode {
            CallerMode::Bits32 => self.control(),
            _ => self.general[Register::Rax as usize],
        }
    }

    /// The register block of fast parameters: RDX, R8, XMM0 to XMM5 (64-bit names).
    pub(crate) fn block(&self) -> Vec<u8> {
        let mut block = Vec::new();
        let pair = |high: Register, low: Register| {
            self.general[high as usize] << 32 | self.general[low as usize] & 0xFFFF_FFFF
        };
        let (first, second) = match self.mode {
            CallerMode::Bits32 => (pair(Register::Rbx, Register::Rcx), pair(Register::Rdi, Register::Rsi)),
            _ => (self.general[Register::Rdx as usize], self.general[Register::R8 as usize]),
        };
        block.extend(first.to_le_bytes());
        block.extend(second.to_le_bytes());
        self.xmm.iter().for_each(|value| block.extend(value.to_le_bytes()));
        block
    }

    /// Sets the register block from its start on.
    pub(crate) fn set_block(&mut self, bytes: &[u8]) {
        let mut block = self.block();
        block[..bytes.len()].copy_from_slice(bytes);
        let word = |at: usize| u64::from_le_bytes(block[at..at + 8].try_into().unwrap());
        self.set_parameters(word(0), word(8));
        for (index, xmm) in self.xmm.iter_mut().enumerate() {
            let at = 16 + 16 * index;
            *xmm = u128::from_le_bytes(block[at..at + 16].try_into().unwrap());
        }
    }
}

impl Registers for TestRegisters {
    fn mode(&self) -> CallerMode {
        self.mode
    }

    fn general(&self, register: Register) -> u64 {
        self.general[register as usize]
    }

    fn set_general(&mut self, register: Register, value: u64) {
        assert!(self.mode == CallerMode::Bits64 || value >> 32 == 0, "a 32-bit caller has 32-bit registers");
        self.general[register as usize] = value;
    }

    fn xmm(&self, index: usize) -> u128 {
        self.xmm[index]
    }

    fn set_xmm(&mut self, index: usize, value: u128) {
        self.xmm[index] = value;
    }
}

/// The intercept that an access to a page without the right raises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TestIntercept {
    pub(crate) gpa: u64,
    pub(crate) write: bool,
}

/// Memory of single pages. What is not mapped is a guard page; and where the caller says what may be read, every byte
/// beyond it is a guard as well.
#[derive(Clone, Debug, Default)]
pub(crate) struct TestMemory {
    pub(crate) pages: BTreeMap<u64, TestPage>,
    pub(crate) locked: Range<u64>,
    /// If given, the only bytes that a right call needs to read.
    pub(crate) may_read: Option<Range<u64>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TestPage {
    pub(crate) bytes: Vec<u8>,
    pub(crate) writable: bool,
}

impl TestMemory {
    pub(crate) fn map(&mut self, gpa: u64, writable: bool) {
        self.pages.insert(gpa >> 12, TestPage { bytes: std::vec![0xEE; 4096], writable });
    }

    /// The bytes at `gpa`, as the guest sees them.
    pub(crate) fn bytes(&mut self, gpa: u64, length: usize) -> &mut [u8] {
        let offset = (gpa & 0xFFF) as usize;
        &mut self.pages.get_mut(&(gpa >> 12)).expect("the test's own page").bytes[offset..offset + length]
    }

    fn access(&mut self, gpa: u64, length: usize, write: bool) -> Result<&mut [u8], TestIntercept> {
        assert_ne!(length, 0, "an access to nothing");
        let offset = (gpa & 0xFFF) as usize;
        assert!(offset + length <= 4096, "an access across pages, at {gpa:#x}");
        match self.pages.get_mut(&(gpa >> 12)) {
            Some(page) if page.writable || !write => Ok(&mut page.bytes[offset..offset + length]),
            _ => Err(TestIntercept { gpa, write }),
        }
    }
}

impl GuestMemory for TestMemory {
    type Intercept = TestIntercept;

    fn read(&mut self, gpa: u64, bytes: &mut [u8]) -> Result<(), TestIntercept> {
        if let Some(range) = &self.may_read {
            assert!(
                range.start <= gpa && gpa + bytes.len() as u64 <= range.end,
                "reads more than its input: {gpa:#x}"
            );
        }
        bytes.copy_from_slice(self.access(gpa, bytes.len(), false)?);
        Ok(())
    }

    fn lock_output(&mut self, gpa: u64, length: usize) -> Result<(), TestIntercept> {
        self.access(gpa, length, true)?;
        self.locked = gpa..gpa + length as u64;
        Ok(())
    }

    fn write(&mut self, gpa: u64, bytes: &[u8]) -> Result<(), TestIntercept> {
        let range = &self.locked;
        assert!(
            range.start <= gpa && gpa + bytes.len() as u64 <= range.end,
            "writes what was not locked: {gpa:#x}"
        );
        self.access(gpa, bytes.len(), true)?.copy_from_slice(bytes);
        Ok(())
    }
}

/// What a handler saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) code: CallCode,
    pub(crate) input: Vec<u8>,
    pub(crate) words: Vec<u64>,
    pub(crate) elements: Vec<u8>,
}

/// What the handler does with the next call: all of it, or so many elements and then the rest of the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Succeed,
    Stop(usize, Stop<u32>),
}

/// Handles every test call by writing down what it saw.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    pub(crate) seen: Vec<Seen>,
    /// What is done with the calls to come; afterwards they succeed.
    pub(crate) script: VecDeque<Step>,
}

impl Handler for Recorder {
    type Condition = u32;
}

/// The outputs of test calls: byte `index` of a simple call's output.
pub(crate) fn output_byte(index: usize) -> u8 {
    (index as u8).wrapping_mul(37) ^ 0xA5
}

/// Byte `index` of the output element for an input element: depends on all its bytes.
pub(crate) fn output_element_byte(element: &[u8], index: usize) -> u8 {
    element.iter().fold(index as u8, |hash, byte| hash.wrapping_mul(31).wrapping_add(*byte))
}

/// The two forms of arguments that test calls have.
trait TestArguments {
    fn parts(self) -> (Vec<u8>, Vec<u64>);
}

impl<I: IntoBytes + zerocopy::Immutable> TestArguments for &I {
    fn parts(self) -> (Vec<u8>, Vec<u64>) {
        (self.as_bytes().to_vec(), Vec::new())
    }
}

impl<I: IntoBytes + zerocopy::Immutable> TestArguments for (&I, &[u64]) {
    fn parts(self) -> (Vec<u8>, Vec<u64>) {
        (self.0.as_bytes().to_vec(), self.1.to_vec())
    }
}

impl Recorder {
    fn record(&mut self, code: CallCode, arguments: impl TestArguments, elements: &[u8]) -> Step {
        let (input, words) = arguments.parts();
        self.seen.push(Seen { code, input, words, elements: elements.to_vec() });
        self.script.pop_front().unwrap_or(Step::Succeed)
    }
}

/// Lengths of a test call's parameters, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) code: CallCode,
    pub(crate) privileges: PrivilegeMask,
    pub(crate) input: usize,
    /// Longest variable header in 8-byte units, if it takes one.
    pub(crate) words: Option<usize>,
    /// Of one element, if it is a rep call.
    pub(crate) element: Option<usize>,
    /// Of the whole output, or of one output element.
    pub(crate) output: usize,
}

const fn longest<V: VariableHeader<I>, I>() -> Option<usize> {
    if V::EXISTS { Some(size_of::<V::Storage>() / 8) } else { None }
}

/// Declares test calls, their role, their shapes, and what the recorder does with them.
macro_rules! test_calls {
    (
        $(simple $simple:ident = $scode:literal, [$($sprivilege:ident),*], $sinput:ty, $svariable:ty => $soutput:ty;)*
        $(rep $rep:ident = $rcode:literal, [$($rprivilege:ident),*], $rinput:ty, $rvariable:ty, $relement:ty => $routput:ty;)*
    ) => {
        $(call! {
            /// A simple test call.
            #[allow(unreachable_pub)]
            simple $simple = CallCode($scode), [$($sprivilege),*], $sinput, $svariable => $soutput;
        }
        impl HandleSimple<$simple> for Recorder {
            fn handle(&mut self, arguments: Arguments<'_, $simple>) -> Result<$soutput, Stop<u32>> {
                match self.record(CallCode($scode), arguments, &[]) {
                    Step::Stop(_, stop) => return Err(stop),
                    Step::Succeed => {}
                }
                let mut output = <$soutput>::new_zeroed();
                for (index, byte) in output.as_mut_bytes().iter_mut().enumerate() {
                    *byte = output_byte(index);
                }
                Ok(output)
            }
        })*
        $(call! {
            /// A rep test call.
            #[allow(unreachable_pub)]
            rep $rep = CallCode($rcode), [$($rprivilege),*], $rinput, $rvariable, $relement => $routput;
        }
        impl HandleRep<$rep> for Recorder {
            fn handle(
                &mut self,
                arguments: Arguments<'_, $rep>,
                elements: &[$relement],
                outputs: &mut [$routput],
            ) -> Result<(), RepStop<u32>> {
                assert_eq!(elements.len(), outputs.len());
                assert!(outputs.iter().all(|output| output.as_bytes().iter().all(|byte| *byte == 0)));
                let step = self.record(CallCode($rcode), arguments, elements.as_bytes());
                let processed = match step {
                    Step::Stop(processed, _) => processed.min(elements.len()),
                    Step::Succeed => elements.len(),
                };
                // The outputs of elements not processed are garbage that must not come out.
                for (position, (element, output)) in elements.iter().zip(outputs).enumerate() {
                    for (index, byte) in output.as_mut_bytes().iter_mut().enumerate() {
                        *byte = if position < processed { output_element_byte(element.as_bytes(), index) } else { 0x66 };
                    }
                }
                match step {
                    Step::Stop(processed, reason) => Err(RepStop { processed, reason }),
                    Step::Succeed => Ok(()),
                }
            }
        })*
        role! {
            /// Every test call.
            pub(crate) TestRole { simple { $($simple),* } rep { $($rep),* } }
        }
        /// The shapes of the test calls.
        pub(crate) const SHAPES: &[Shape] = &[
            $(Shape {
                code: CallCode($scode),
                privileges: <$simple as Call>::PRIVILEGES,
                input: size_of::<$sinput>(),
                words: longest::<$svariable, $sinput>(),
                element: None,
                output: size_of::<$soutput>(),
            },)*
            $(Shape {
                code: CallCode($rcode),
                privileges: <$rep as Call>::PRIVILEGES,
                input: size_of::<$rinput>(),
                words: longest::<$rvariable, $rinput>(),
                element: Some(size_of::<$relement>()),
                output: size_of::<$routput>(),
            },)*
        ];
    };
}

test_calls! {
    simple Nothing = 0xF000, [], (), NoVariableHeader => ();
    simple InWord = 0xF001, [PostMessages], u64, NoVariableHeader => ();
    simple OutWord = 0xF002, [], (), NoVariableHeader => u64;
    simple InOut = 0xF003, [AccessVpIndex], [u64; 2], NoVariableHeader => [u64; 2];
    simple Odd = 0xF004, [], [u32; 5], NoVariableHeader => [u64; 10];
    simple Small = 0xF005, [], u32, NoVariableHeader => u16;
    simple Wide = 0xF006, [SignalEvents, PostMessages], [u64; 14], NoVariableHeader => ();
    simple Message = 0xF007, [PostMessages], [u64; 32], NoVariableHeader => ();
    simple PageOut = 0xF008, [], u64, NoVariableHeader => [u64; 512];
    simple InVariable = 0xF009, [], u64, Words<8> => ();
    simple OnlyVariable = 0xF00A, [], (), Words<16> => u64;
    simple InOutVariable = 0xF00B, [AccessVSM], [u64; 2], Words<64> => [u64; 2];
    simple OnlyWords = 0xF00C, [], (), Words<2> => ();
    rep InList = 0xF010, [], [u64; 3], NoVariableHeader, u64 => ();
    rep OnlyList = 0xF011, [SignalEvents], (), NoVariableHeader, u64 => ();
    rep InOutList = 0xF012, [AccessVpRegisters], [u64; 2], NoVariableHeader, u32 => [u64; 2];
    rep WideList = 0xF013, [], [u64; 2], NoVariableHeader, [u64; 4] => ();
    rep PackedList = 0xF014, [], [u64; 2], NoVariableHeader, u32 => u32;
    rep VariableList = 0xF015, [], [u64; 4], Words<64>, u64 => ();
    rep InOutVariableList = 0xF016, [CreatePartitions], u64, Words<4>, u64 => u64;
    rep OnlyLists = 0xF017, [], (), NoVariableHeader, u64 => u64;
    rep VariableOnlyList = 0xF018, [], (), Words<2>, u64 => ();
    rep VariableOnlyLists = 0xF019, [], (), Words<2>, [u32; 3] => u32;
}
