// What AssemblyScript programs do: garbage, growth of the memory, files by WASI itself, an exit code.
import {
  fd_close, fd_prestat_dir_name, fd_prestat_get, fd_read, fd_write, path_open, prestat,
} from "@assemblyscript/wasi-shim/assembly/bindings/wasi_snapshot_preview1";

const FD_READ: u64 = 2;
const FD_WRITE: u64 = 64;
const O_CREAT: u16 = 1;

const cell = memory.data(16);

// The path in the last directory that is open and that it begins with; the directory `.` else.
function open(path: string, flags: u16, rights: u64): u32 {
  let dir: u32 = 3, rest = path;
  for (let fd: u32 = 3; fd_prestat_get(fd, changetype<prestat>(cell)) == 0; fd++) {
    const length = load<u32>(cell, 4);
    const name = new ArrayBuffer(length);
    fd_prestat_dir_name(fd, changetype<usize>(name), length);
    const place = String.UTF8.decode(name);
    if (path.startsWith(place + "/")) { dir = fd; rest = path.slice(place.length + 1); }
  }
  const bytes = String.UTF8.encode(rest);
  const error = path_open(dir, 1, changetype<usize>(bytes), bytes.byteLength, flags, rights, 0, 0, cell);
  if (error) { console.error(path + ": errno " + (error as u32).toString()); process.exit(error); }
  return load<u32>(cell);
}

function put(path: string, text: string): void {
  const fd = open(path, O_CREAT, FD_WRITE);
  const bytes = String.UTF8.encode(text);
  store<u32>(cell, changetype<usize>(bytes));
  store<u32>(cell, bytes.byteLength, 4);
  fd_write(fd, cell, 1, cell + 8);
  fd_close(fd);
}

function get(path: string): string {
  const fd = open(path, 0, FD_READ);
  const bytes = new ArrayBuffer(1000);
  store<u32>(cell, changetype<usize>(bytes));
  store<u32>(cell, bytes.byteLength, 4);
  fd_read(fd, cell, 1, cell + 8);
  fd_close(fd);
  return String.UTF8.decode(bytes.slice(0, load<u32>(cell, 8)));
}

// Makes more garbage than the memory could hold, and keeps some of it.
function garbage(): i32 {
  const kept: string[] = [];
  for (let i = 0; i < 20000; i++) {
    const text = "n".repeat(i % 1000) + i.toString();
    if (i % 100 == 0) kept.push(text);
  }
  let length = 0;
  for (let i = 0; i < kept.length; i++) length += kept[i].length;
  return length;
}

// A block of many pages, which the memory has to grow for.
function grown(): i32 {
  const block = new Int32Array(2_000_000);
  for (let i = 0; i < block.length; i++) block[i] = i;
  let wrong = 0;
  for (let i = 0; i < block.length; i++) if (block[i] != i) wrong++;
  return wrong;
}

const path = process.argv[1];
put(path, "from AssemblyScript");
console.log(get(path));
const input = new Uint8Array(100);
const read = process.stdin.read(input.buffer);
console.log("input " + String.UTF8.decode(input.buffer.slice(0, read)));
console.log(process.env.get("V"));
console.log(garbage().toString() + " " + grown().toString());
console.log((Date.now() > 1_600_000_000_000).toString());
process.exit(6);
