//! How the program is linked: by itself, at a fixed address, all of it within one page.

fn main() {
    let arguments = [
        // No libc and none of its start-up code.
        "-nostdlib",
        "-nostartfiles",
        "-static",
        // A fixed address needs no relocations, which would write to (and so copy) pages.
        "-no-pie",
        // Headers, constants and code in one segment, and so in one page of the page cache.
        "-Wl,-z,noseparate-code",
        "-Wl,-z,max-page-size=4096",
        "-Wl,-z,norelro",
        "-Wl,-z,noexecstack",
        "-Wl,--build-id=none",
        "-Wl,--gc-sections",
        "-Wl,--no-eh-frame-hdr",
    ];
    for argument in arguments {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    // In the same 512 GiB as the stack, and below all of its places: one page of page tables less.
    // (The option is that of lld, rustc's linker on this architecture, and of GNU ld since 2.44.)
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64") {
        println!("cargo:rustc-link-arg-bins=-Wl,--image-base=0x7f8000000000");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
