// SPDX-License-Identifier: MIT OR Apache-2.0
use super::*;

/// A kernel in a folder, made of short texts.
fn kernel(folder: &Path) -> Result<DebianKernel, std::io::Error> {
    let file = |name: &str| {
        let path = folder.join(name);
        fs::write(&path, format!("content of {name}")).map(|()| path)
    };
    Ok(DebianKernel {
        version: "6.1.1-1".to_owned(),
        kernel: file("vmlinuz")?,
        modules: vec![file("first.ko")?, file("second.ko")?],
        busybox: file("busybox")?,
    })
}

#[test]
fn the_guest_is_told_what_to_load_and_to_do() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let kernel = kernel(folder.path())?;
    let text = |mode| initramfs(&kernel, &mode).map(|archive| String::from_utf8_lossy(&archive).into_owned());
    let summary = text(Mode::Summary)?;
    for part in [
        "content of first.ko",
        "content of second.ko",
        "content of busybox",
        "first.ko\nsecond.ko\n",
        "etc/viridian/mode\0",
        "dev/console\0",
        "::once:/etc/viridian/start",
    ] {
        assert!(summary.contains(part), "{part}");
    }
    assert!(!summary.contains("content of vmlinuz"), "the kernel goes its own way");
    let commands = text(Mode::Commands("echo hello\n".to_owned()))?;
    assert!(commands.contains("echo hello\n") && !summary.contains("etc/viridian/commands\0"));
    assert!(text(Mode::Shell)? != summary);
    assert!(summary.contains(SHELL_IS_UP), "the script prints what marks the end of booting");

    fs::remove_file(&kernel.busybox)?;
    let error = initramfs(&kernel, &Mode::Shell).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.starts_with("cannot read ") && error.contains("busybox"), "{error}");
    Ok(())
}
