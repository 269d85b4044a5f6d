// SPDX-License-Identifier: MIT OR Apache-2.0
//! CPUID and MSRs.

use crate::show::{self, Letters};
use crate::words::{self, Outcome, Words};
use support::hyperv::Interface;
use support::trap::{self, Fault};
use support::{cpu, println};
use tlfs::cpuid::{self, OutputRegister};
use tlfs::msr::{self, MSRS, MsrInfo};
use tlfs::privilege::Privilege;

pub(crate) fn cpuid(mut words: Words<'_>) -> Outcome {
    let (leaf, subleaf) = (words.number()? as u32, words.number_or(0)? as u32);
    let answer = cpu::cpuid(leaf, subleaf);
    if let Some(about) = cpuid::about(leaf) {
        println!("{about}");
    }
    let letters = [answer.eax, answer.ebx, answer.ecx, answer.edx];
    println!(
        "eax {:#010x}  ebx {:#010x}  ecx {:#010x}  edx {:#010x}  {}",
        answer.eax,
        answer.ebx,
        answer.ecx,
        answer.edx,
        Letters(&letters)
    );
    for info in cpuid::REGISTERS.iter().filter(|info| info.leaf == leaf) {
        let (name, value, privileges) = match info.register {
            OutputRegister::Eax => ("eax", answer.eax, Some(0)),
            OutputRegister::Ebx => ("ebx", answer.ebx, Some(32)),
            OutputRegister::Ecx => ("ecx", answer.ecx, None),
            OutputRegister::Edx => ("edx", answer.edx, None),
        };
        if value == 0 || info.fields.iter().all(|field| field.name.is_empty()) {
            continue;
        }
        println!("{name}:");
        match privileges {
            Some(low) if leaf == cpuid::FEATURES => {
                let held = |privilege: &&Privilege| {
                    (low..low + 32).contains(&privilege.bit()) && value >> (privilege.bit() - low) & 1 != 0
                };
                for privilege in Privilege::ALL.iter().filter(held) {
                    println!("  {:<46} {}", privilege.name(), privilege.about());
                }
            }
            _ => show::fields(info.fields, value.into()),
        }
    }
    Ok(())
}

/// An MSR by number or name.
fn find(words: &mut Words<'_>) -> Result<(u32, Option<&'static MsrInfo>), &'static str> {
    let word = words.next().ok_or("which MSR? Write its number or name")?;
    if let Some(info) = MSRS.iter().find(|msr| words::means(word, msr.name, "HV_X64_MSR_")) {
        return Ok((info.number, Some(info)));
    }
    let number = words::number(word).map_err(|_| "the interface has no MSR of that name")?;
    let number = u32::try_from(number).map_err(|_| "an MSR's number has 32 bits")?;
    Ok((number, msr::info(number)))
}

pub(crate) fn rdmsr(interface: &Interface, mut words: Words<'_>) -> Outcome {
    let (number, info) = find(&mut words)?;
    let name = info.map_or("MSR", |info| info.name);
    match trap::rdmsr(number) {
        Ok(value) => {
            println!("{name} ({number:#x}) = {value:#x}");
            show::fields(msr::fields(number), value);
        }
        Err(fault) => refused(interface, "RDMSR", name, fault, info),
    }
    Ok(())
}

pub(crate) fn wrmsr(interface: &Interface, mut words: Words<'_>) -> Outcome {
    let (number, info) = find(&mut words)?;
    let value = words.number()?;
    let name = info.map_or("MSR", |info| info.name);
    match trap::wrmsr(number, value) {
        Ok(()) => println!("{name} ({number:#x}) takes {value:#x}"),
        Err(fault) => refused(interface, "WRMSR", name, fault, info),
    }
    Ok(())
}

fn refused(interface: &Interface, what: &str, name: &str, fault: Fault, info: Option<&MsrInfo>) {
    println!("{what} of {name} is refused: {fault}");
    let Some(info) = info else { return };
    println!("  {}", info.about);
    if let Some(privilege) = info.privilege {
        let held = interface.privileges.into_bits() >> privilege.bit() & 1 != 0;
        println!(
            "  it needs {}, which this partition {}",
            privilege.name(),
            if held { "has" } else { "lacks" }
        );
    }
}
