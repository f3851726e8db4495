//! The few system calls, made without libc (syscall(2)). Each gives what the kernel gives: a value, or an
//! error number below zero.

use core::arch::{asm, global_asm};

use tenement_park::Address;

#[cfg(target_arch = "x86_64")]
mod number {
    pub const WRITE: usize = 1;
    pub const CLOSE: usize = 3;
    pub const SOCKET: usize = 41;
    pub const SENDTO: usize = 44;
    pub const EXECVE: usize = 59;
    pub const FCNTL: usize = 72;
    pub const EXIT_GROUP: usize = 231;
    pub const UNLINKAT: usize = 263;
    pub const FACCESSAT: usize = 269;
    pub const PPOLL: usize = 271;
}

#[cfg(target_arch = "aarch64")]
mod number {
    pub const FCNTL: usize = 25;
    pub const UNLINKAT: usize = 35;
    pub const FACCESSAT: usize = 48;
    pub const CLOSE: usize = 57;
    pub const WRITE: usize = 64;
    pub const PPOLL: usize = 73;
    pub const EXIT_GROUP: usize = 94;
    pub const SOCKET: usize = 198;
    pub const SENDTO: usize = 206;
    pub const EXECVE: usize = 221;
}

// The kernel starts a program with its arguments on the stack (elf(5), x86-64 and AArch64 ABIs): their
// address is the one parameter of `begin`.
#[cfg(target_arch = "x86_64")]
global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {begin}",
    begin = sym super::begin,
);

#[cfg(target_arch = "aarch64")]
global_asm!(
    ".globl _start",
    "_start:",
    "mov x29, xzr",
    "mov x30, xzr",
    "mov x0, sp",
    "b {begin}",
    begin = sym super::begin,
);

/// # Safety
/// The arguments must be what the system call `number` takes, with memory that lives through it.
unsafe fn call(number: usize, a: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the registers are those of the kernel's calling convention; the caller answers for what
    // they hold.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => result, in("rdi") a[0], in("rsi") a[1],
            in("rdx") a[2], in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") a[0] as isize => result, in("x1") a[1],
            in("x2") a[2], in("x3") a[3], in("x4") a[4], in("x5") a[5], options(nostack));
    }
    result
}

/// `AT_FDCWD`: paths count from the working directory.
const HERE: usize = -100_isize as usize;
const EINTR: isize = -4;

/// Deletes the file at `path`, or says that one is there that it may not delete.
///
/// # Safety
/// `path` must be a C string.
pub unsafe fn take_file(path: *const u8) -> bool {
    // SAFETY: `path` is a C string, says the caller; the other arguments are numbers.
    unsafe {
        call(number::UNLINKAT, [HERE, path as usize, 0, 0, 0, 0]) == 0
            || call(number::FACCESSAT, [HERE, path as usize, 0, 0, 0, 0]) == 0
    }
}

/// Closes `fd` when the next program is executed.
pub fn close_on_exec(fd: i32) {
    const F_SETFD: usize = 2;
    const FD_CLOEXEC: usize = 1;
    // SAFETY: all arguments are numbers, and nobody here relies on `fd`.
    unsafe { call(number::FCNTL, [fd as usize, F_SETFD, FD_CLOEXEC, 0, 0, 0]) };
}

/// `struct pollfd` (poll(2)).
#[repr(C)]
struct Pollfd {
    fd: i32,
    events: i16,
    revents: i16,
}

/// Whether `fd` has something to read, which for a listening socket is a connection; or can't be polled
/// at all. Waits for that if asked to.
pub fn is_ready(fd: i32, wait: bool) -> bool {
    const POLLIN: i16 = 1;
    let mut pollfd = Pollfd { fd, events: POLLIN, revents: 0 };
    let at_once = [0_i64; 2];
    let timeout = if wait { 0 } else { &raw const at_once as usize };
    loop {
        let polled = &raw mut pollfd as usize;
        // SAFETY: one pollfd, and a timespec of two longs or none; both live through the call.
        let ready = unsafe { call(number::PPOLL, [polled, 1, timeout, 0, 8, 0]) };
        if ready != EINTR {
            return ready != 0;
        }
    }
}

/// Sends `text` to the unix datagram socket at `address`, unless that is full or none.
pub fn send(address: &Address, text: &[u8]) {
    if address.is_empty() {
        return;
    }
    const UNIX: usize = 1;
    const DATAGRAM_CLOEXEC: usize = 2 | 0o2_000_000;
    const DONTWAIT_NOSIGNAL: usize = 0x40 | 0x4000;
    // SAFETY: all arguments are numbers.
    let fd = unsafe { call(number::SOCKET, [UNIX, DATAGRAM_CLOEXEC, 0, 0, 0, 0]) };
    if fd < 0 {
        return;
    }
    let (to, len) = (&raw const *address as usize, address.len());
    let (text, size) = (text.as_ptr() as usize, text.len());
    // SAFETY: `text` and `address` are borrowed for as long as the call takes.
    unsafe { call(number::SENDTO, [fd as usize, text, size, DONTWAIT_NOSIGNAL, to, len]) };
    // SAFETY: the socket is ours, and nobody uses it afterwards.
    unsafe { call(number::CLOSE, [fd as usize, 0, 0, 0, 0, 0]) };
}

/// Becomes the program at `path`. Returns the error number if that can't be.
///
/// # Safety
/// `path` must be a C string, `argv` and `envp` arrays of such that end with a null pointer.
pub unsafe fn execute(path: *const u8, argv: *const *const u8, envp: *const *const u8) -> i32 {
    // SAFETY: the caller answers for all three.
    let error =
        unsafe { call(number::EXECVE, [path as usize, argv as usize, envp as usize, 0, 0, 0]) };
    -error as i32
}

/// Writes to standard error; what can't be written is lost.
pub fn complain(text: &[u8]) {
    // SAFETY: `text` is borrowed for as long as the call takes.
    unsafe { call(number::WRITE, [2, text.as_ptr() as usize, text.len(), 0, 0, 0]) };
}

/// Ends this process.
pub fn exit(status: i32) -> ! {
    loop {
        // SAFETY: the argument is a number; the call does not return.
        unsafe { call(number::EXIT_GROUP, [status as usize, 0, 0, 0, 0, 0]) };
    }
}
