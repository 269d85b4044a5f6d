// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is offered to a guest: every privilege, feature bit and recommendation, tied to the service that stands behind it.
//!
//! [`Enlightenment`] is the only place where a bit is offered. CPUID shows the sum of what a partition was given, hypercalls and MSRs are
//! checked against it, so a guest that believes CPUID finds everything that it was told of, and nothing else.

use tlfs::cpuid::{Features, Recommendations};
use tlfs::msr::{self, Access};
use tlfs::privilege::{Privilege, PrivilegeMask};

macro_rules! enlightenments {
    ($(
        $(#[$doc:meta])*
        $Name:ident = $name:literal { privileges: [$($privilege:ident),*], features: $features:expr, recommendations: $recommendations:expr }
    )+) => {
        /// A service that a partition can be given.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Enlightenment {
            $( $(#[$doc])* $Name, )+
        }

        impl Enlightenment {
            /// Every service.
            pub const ALL: &'static [Self] = &[$( Self::$Name, )+];

            /// Its name on the command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $( Self::$Name => $name, )+
                }
            }

            /// Privileges that guard it.
            #[must_use]
            pub const fn privileges(self) -> PrivilegeMask {
                match self {
                    $( Self::$Name => PrivilegeMask::of(&[$( Privilege::$privilege, )*]), )+
                }
            }

            /// Feature bits (CPUID 0x40000003 EDX) that tell of it.
            #[must_use]
            pub const fn features(self) -> Features {
                match self {
                    $( Self::$Name => $features, )+
                }
            }

            /// Recommendations (CPUID 0x40000004 EAX) to use it.
            #[must_use]
            pub const fn recommendations(self) -> Recommendations {
                match self {
                    $( Self::$Name => $recommendations, )+
                }
            }
        }
    };
}

const NO_FEATURE: Features = Features::new();
const NO_ADVICE: Recommendations = Recommendations::new();

enlightenments! {
    /// GUEST_OS_ID, the hypercall page and VP_INDEX: without these there is no interface (TLFS 2.6, 3.13, 7.8.1).
    Hypercalls = "hypercalls" {
        privileges: [AccessHypercallMsrs, AccessVpIndex],
        features: NO_FEATURE.with_hypercall_msr_lock_available(true),
        recommendations: NO_ADVICE
    }
    /// Fast hypercalls with input in XMM registers (TLFS 3.7.2).
    XmmInput = "xmm-input" {
        privileges: [],
        features: NO_FEATURE.with_xmm_fast_input(true),
        recommendations: NO_ADVICE
    }
    /// Consumed time (TLFS 7.9.1).
    VpRunTime = "vp-runtime" {
        privileges: [AccessVpRunTimeReg],
        features: NO_FEATURE,
        recommendations: NO_ADVICE
    }
    /// Reference time by MSR (TLFS 12.4).
    ReferenceCounter = "time-ref-count" {
        privileges: [AccessPartitionReferenceCounter],
        features: NO_FEATURE,
        recommendations: NO_ADVICE
    }
    /// Reference time by page (TLFS 12.7).
    ReferenceTsc = "reference-tsc" {
        privileges: [AccessPartitionReferenceTsc],
        features: NO_FEATURE,
        recommendations: NO_ADVICE
    }
    /// Frequencies of TSC and APIC timer.
    Frequencies = "frequencies" {
        privileges: [AccessFrequencyRegs],
        features: NO_FEATURE.with_timer_frequencies(true),
        recommendations: NO_ADVICE
    }
    /// The synthetic interrupt controller (TLFS 11).
    Synic = "synic" {
        privileges: [AccessSynicRegs, PostMessages, SignalEvents],
        features: NO_FEATURE.with_sint_polling_mode_available(true),
        recommendations: NO_ADVICE
    }
    /// Synthetic timers (TLFS 12.5).
    SyntheticTimers = "stimer" {
        privileges: [AccessSyntheticTimerRegs],
        features: NO_FEATURE,
        recommendations: NO_ADVICE
    }
    /// Synthetic timers that raise vectors (TLFS 12.2).
    DirectTimers = "stimer-direct" {
        privileges: [],
        features: NO_FEATURE.with_use_direct_synthetic_timers(true),
        recommendations: NO_ADVICE
    }
    /// EOI, ICR and TPR by MSR, and the VP assist page with EOI assist (TLFS 10.2.3, 10.3.5).
    ApicMsrs = "apic" {
        privileges: [AccessIntrCtrlRegs],
        features: NO_FEATURE,
        recommendations: NO_ADVICE.with_use_apic_msrs(true)
    }
    /// Reset by MSR (TLFS 2.4.5).
    Reset = "reset" {
        privileges: [AccessResetReg],
        features: NO_FEATURE,
        recommendations: NO_ADVICE.with_use_reset_msr(true)
    }
    /// Sleeping by MSR (TLFS 7.5).
    GuestIdle = "idle" {
        privileges: [AccessGuestIdleReg],
        features: NO_FEATURE.with_virtual_guest_idle(true),
        recommendations: NO_ADVICE
    }
    /// Crash reports (TLFS 4.3).
    Crash = "crash" {
        privileges: [],
        features: NO_FEATURE.with_guest_crash_msrs(true),
        recommendations: NO_ADVICE
    }
    /// Flushes of other VPs' translations (TLFS 9.4).
    TlbFlush = "tlb-flush" {
        privileges: [],
        features: NO_FEATURE.with_extended_gva_ranges_for_flush_virtual_address_list(true),
        recommendations: NO_ADVICE.with_use_hypercall_for_remote_flush_and_local_flush_entire(true)
    }
    /// Interrupts to many VPs (TLFS 10.5.2).
    ClusterIpi = "ipi" {
        privileges: [],
        features: NO_FEATURE,
        recommendations: NO_ADVICE.with_use_synthetic_cluster_ipi(true)
    }
    /// The forms of flush and interrupt calls that take sparse sets (TLFS 7.8.7.3).
    SparseSets = "ex-processor-masks" {
        privileges: [],
        features: NO_FEATURE,
        recommendations: NO_ADVICE.with_use_ex_processor_masks(true)
    }
    /// Nothing is served in time: watchdogs had better be off.
    RelaxedTiming = "relaxed-timing" {
        privileges: [],
        features: NO_FEATURE,
        recommendations: NO_ADVICE.with_use_relaxed_timing(true)
    }
}

/// A set of services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enlightenments(u32);

impl Enlightenments {
    /// No service: the guest finds no hypervisor.
    pub const NONE: Self = Self(0);
    /// Every service.
    pub const ALL: Self = Self((1 << Enlightenment::ALL.len()) - 1);

    /// Whether the service is in the set.
    #[must_use]
    pub const fn contains(self, service: Enlightenment) -> bool {
        self.0 >> service as u8 & 1 != 0
    }

    /// The set with this service.
    #[must_use]
    pub const fn with(self, service: Enlightenment) -> Self {
        Self(self.0 | 1 << service as u8)
    }

    /// The set without this service.
    #[must_use]
    pub const fn without(self, service: Enlightenment) -> Self {
        Self(self.0 & !(1 << service as u8))
    }
}

/// First synthetic MSR number that no service has. All of them lie below.
const MSR_END: u32 = msr::CRASH_CTL + 1;
/// First synthetic MSR number.
pub(crate) const MSR_FIRST: u32 = msr::GUEST_OS_ID;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct MsrSet([u64; (MSR_END - MSR_FIRST).div_ceil(64) as usize]);

impl MsrSet {
    const fn insert(&mut self, number: u32) {
        let index = (number - MSR_FIRST) as usize;
        self.0[index / 64] |= 1 << (index % 64);
    }

    fn contains(&self, number: u32) -> bool {
        let index = number.wrapping_sub(MSR_FIRST) as usize;
        self.0.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 != 0)
    }
}

/// Synthetic MSRs that privileges would admit but that nothing here serves: no public definition says what SIRBP does.
const UNSERVED: &[u32] = &[msr::SIRBP];

/// What a partition is offered, ready for the checks of every access.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The services it is made of.
    pub enlightenments: Enlightenments,
    /// Privileges (CPUID 0x40000003 EAX and EBX).
    pub privileges: PrivilegeMask,
    /// Features (CPUID 0x40000003 EDX).
    pub features: Features,
    /// Recommendations (CPUID 0x40000004 EAX).
    pub recommendations: Recommendations,
    readable: MsrSet,
    writable: MsrSet,
}

impl Offer {
    /// The offer that a set of services amounts to.
    #[must_use]
    pub fn new(enlightenments: Enlightenments) -> Self {
        let (mut privileges, mut features, mut recommendations) = (0, 0, 0);
        for &service in Enlightenment::ALL.iter().filter(|&&service| enlightenments.contains(service)) {
            privileges |= service.privileges().into_bits();
            features |= service.features().into_bits();
            recommendations |= service.recommendations().into_bits();
        }
        let privileges = PrivilegeMask::from_bits(privileges);
        let (mut readable, mut writable) = (MsrSet::default(), MsrSet::default());
        let within = |info: &&msr::MsrInfo| (MSR_FIRST..MSR_END).contains(&info.number);
        for info in msr::MSRS.iter().filter(within).filter(|info| !UNSERVED.contains(&info.number)) {
            let held = info.privilege.is_none_or(|needed| privileges.holds(PrivilegeMask::of(&[needed])));
            let exists = info.feature.is_none_or(|name| {
                let field = Features::FIELDS.iter().find(|field| field.name == name);
                field.is_some_and(|field| u64::from(features) & field.mask() != 0)
            });
            // An MSR that neither a privilege nor a feature guards is nobody's to use.
            if !held || !exists || (info.privilege.is_none() && info.feature.is_none()) {
                continue;
            }
            if info.access != Access::WriteOnly {
                readable.insert(info.number);
            }
            if info.access != Access::ReadOnly {
                writable.insert(info.number);
            }
        }
        let (features, recommendations) =
            (Features::from_bits(features), Recommendations::from_bits(recommendations));
        Self { enlightenments, privileges, features, recommendations, readable, writable }
    }

    /// Whether the guest finds a hypervisor at all.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.enlightenments.contains(Enlightenment::Hypercalls)
    }

    /// Whether the guest may read this synthetic MSR.
    #[must_use]
    pub fn may_read(&self, number: u32) -> bool {
        self.is_present() && self.readable.contains(number)
    }

    /// Whether the guest may write this synthetic MSR.
    #[must_use]
    pub fn may_write(&self, number: u32) -> bool {
        self.is_present() && self.writable.contains(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B02.009, B04.006: no bit is offered twice, and none that has no name.
    #[test]
    fn every_bit_has_one_service() {
        let (mut privileges, mut features, mut advice) = (0u64, 0u32, 0u32);
        for &service in Enlightenment::ALL {
            let (p, f, r) = (
                service.privileges().into_bits(),
                service.features().into_bits(),
                service.recommendations().into_bits(),
            );
            assert_eq!((privileges & p, features & f, advice & r), (0, 0, 0), "{}", service.name());
            (privileges, features, advice) = (privileges | p, features | f, advice | r);
        }
        assert!(!PrivilegeMask::from_bits(privileges).access_tsc_invariant_controls());
        assert!(!PrivilegeMask::from_bits(privileges).create_partitions());
    }

    /// B04.003: each MSR follows the privilege and the feature that the specification ties it to.
    #[test]
    fn msrs_follow_their_privileges() {
        let all = Offer::new(Enlightenments::ALL);
        assert!(all.may_read(msr::SVERSION) && !all.may_write(msr::SVERSION));
        assert!(!all.may_read(msr::EOI) && all.may_write(msr::EOI));
        assert!(!all.may_read(msr::SIRBP) && !all.may_read(msr::NPIEP_CONFIG));
        assert!(!all.may_read(msr::TSC_INVARIANT_CONTROL) && !all.may_read(msr::NESTED_VP_INDEX));
        let without =
            Offer::new(Enlightenments::ALL.without(Enlightenment::Synic).without(Enlightenment::Crash));
        for number in [msr::SCONTROL, msr::SINT15, msr::EOM, msr::CRASH_P0, msr::CRASH_CTL] {
            assert!(all.may_write(number) && !without.may_write(number) && !without.may_read(number));
        }
        assert!(without.may_write(msr::STIMER0_COUNT));
        assert!(!Offer::new(Enlightenments::NONE).may_read(msr::GUEST_OS_ID));
    }
}
