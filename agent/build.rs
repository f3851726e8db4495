//! Has cargo embed the dashboard anew when it was built anew. The directory is there even before `make dashboard`:
//! a path that is missing would count as changed each time.

fn main() {
    let built = "../dashboard/dist";
    // A source tree that can't be written needs no directory: nothing in it changes.
    drop(std::fs::create_dir_all(built));
    println!("cargo:rerun-if-changed={built}");
    println!("cargo:rerun-if-changed=build.rs");
}
