// SPDX-License-Identifier: MIT OR Apache-2.0
//! The processor that guests see.
//!
//! A fixed processor of our own, from one table: the host's vendor (guests choose code by it, and undefined behaviour is the host's), but family, model, stepping,
//! caches and features of the named model. Features are offered only if they are served, which AVX-512, AMX, protection keys, CET, 5-level paging, LAM, TSX,
//! performance counters and virtualization are not.

mod leaves;

use std::arch::x86_64::__cpuid;
use std::fmt;

use engine::CpuidResult;
use x86::control::Xcr0;

use crate::host_execution::{Extensions, VectorState};

/// Whose processor it claims to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vendor {
    /// "GenuineIntel"
    Intel,
    /// "AuthenticAMD"
    Amd,
}

/// The models that there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ModelName {
    /// All of the host's extensions that are served.
    Host,
    /// The x86-64 psABI's second level: up to SSE4.2. The default: it has the smallest state to save, and kernels lose nothing.
    X86_64V2,
    /// The psABI's third level: AVX2, BMI and FMA.
    X86_64V3,
}

/// A row of the table of models.
struct Row {
    name: ModelName,
    text: &'static str,
    /// What the host must have.
    needed: Extensions,
    /// What the model has besides on a host that has it.
    beyond: Extensions,
}

const V2: Extensions =
    Extensions::new().with_sse3(true).with_ssse3(true).with_sse4_1(true).with_sse4_2(true).with_popcnt(true);

const V3: Extensions = V2
    .with_avx(true)
    .with_avx2(true)
    .with_bmi1(true)
    .with_bmi2(true)
    .with_f16c(true)
    .with_fma(true)
    .with_lzcnt(true)
    .with_movbe(true);

/// Instructions on general and XMM registers, which need no state that version 2 has not.
const WITHOUT_STATE: Extensions = Extensions::new()
    .with_aes(true)
    .with_pclmulqdq(true)
    .with_sha(true)
    .with_lzcnt(true)
    .with_bmi1(true)
    .with_bmi2(true)
    .with_adx(true)
    .with_movbe(true);

const MODELS: [Row; 3] = [
    Row { name: ModelName::Host, text: "host", needed: Extensions::new(), beyond: Extensions::ALL },
    Row { name: ModelName::X86_64V2, text: "x86-64-v2", needed: V2, beyond: WITHOUT_STATE },
    Row { name: ModelName::X86_64V3, text: "x86-64-v3", needed: V3, beyond: WITHOUT_STATE },
];

impl fmt::Display for ModelName {
    /// As it is written on command lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().text)
    }
}

impl ModelName {
    /// All models.
    pub const ALL: [Self; 3] = [Self::Host, Self::X86_64V2, Self::X86_64V3];

    fn row(self) -> &'static Row {
        let index = MODELS.iter().position(|row| row.name == self);
        &MODELS[index.expect("each model has its row")]
    }
}

/// The host's processor cannot be the named model.
#[derive(Debug, thiserror::Error)]
#[error(
    "the host's processor lacks {lacking}, which the processor model {model} has; choose another model, such as host"
)]
pub struct HostLacks {
    model: ModelName,
    lacking: Extensions,
}

/// A processor model.
#[derive(Clone, Debug)]
pub struct Model {
    vendor: Vendor,
    extensions: Extensions,
}

impl Model {
    /// A model by its name.
    ///
    /// # Errors
    /// If the host lacks one of its extensions.
    pub fn named(name: ModelName) -> Result<Self, HostLacks> {
        Self::on_host(name, Extensions::of_host())
    }

    /// [`ModelName::X86_64V2`], the default.
    ///
    /// # Errors
    /// As [`Model::named`].
    pub fn x86_64_v2() -> Result<Self, HostLacks> {
        Self::named(ModelName::X86_64V2)
    }

    /// A model on a host with these extensions.
    fn on_host(name: ModelName, host: Extensions) -> Result<Self, HostLacks> {
        let host = host.consistent();
        let row = name.row();
        if !host.contains(row.needed) {
            return Err(HostLacks { model: name, lacking: row.needed.without(host) });
        }
        Ok(Self { vendor: host_vendor(), extensions: row.needed.union(row.beyond.intersection(host)) })
    }

    /// The same model by another vendor, for tests: guests find the leaves and MSRs of that vendor, while what the host's instructions leave undefined stays the
    /// host's.
    #[must_use]
    pub fn by_vendor(self, vendor: Vendor) -> Self {
        Self { vendor, ..self }
    }

    /// Whose processor it claims to be.
    #[must_use]
    pub fn vendor(&self) -> Vendor {
        self.vendor
    }

    /// The instruction-set extensions that it has.
    #[must_use]
    pub fn extensions(&self) -> Extensions {
        self.extensions
    }

    /// CPUID leaf 1's EAX: family, model and stepping.
    #[must_use]
    pub fn signature(&self) -> u32 {
        match self.vendor {
            // Family 6, model 0x3D: the first core with SMAP and ADX, before any that kernels look closer at.
            Vendor::Intel => 0x0003_06D4,
            // Family 19h, model 1: the first with the leaf that says which weaknesses a processor does not have.
            Vendor::Amd => 0x00A0_0F11,
        }
    }

    /// Bits of EFER that exist besides those of every model: for AMD Automatic IBRS (APM 2 3.2.9), with which kernels need no retpolines. It changes
    /// nothing here: an interpreter does not speculate in the guest's name.
    #[must_use]
    pub(crate) fn efer_optional(&self) -> u64 {
        match self.vendor {
            Vendor::Intel => 0,
            Vendor::Amd => 1 << 21,
        }
    }

    /// State components that XCR0 may enable: x87 and SSE, and AVX where that is offered.
    #[must_use]
    pub fn state_components(&self) -> Xcr0 {
        Xcr0::new().with_x87(true).with_sse(true).with_avx(self.extensions.avx())
    }

    /// Bytes of an XSAVE area in standard form with all components.
    #[must_use]
    pub fn xsave_bytes(&self) -> usize {
        if self.extensions.avx() {
            VectorState::AVX_START + VectorState::AVX_BYTES
        } else {
            VectorState::AVX_START
        }
    }

    /// What CPUID says.
    #[must_use]
    pub fn cpuid(&self, leaf: u32, subleaf: u32) -> CpuidResult {
        leaves::answer(self, leaf, subleaf)
    }
}

fn host_vendor() -> Vendor {
    if __cpuid(0).ebx == u32::from_le_bytes(*b"Auth") { Vendor::Amd } else { Vendor::Intel }
}

#[cfg(test)]
mod tests;
