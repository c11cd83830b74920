const std = @import("std");

// Writes to one path and prints what is at another.
pub fn main() !void {
    var args = try std.process.argsWithAllocator(std.heap.wasm_allocator);
    defer args.deinit();
    _ = args.next();
    const cwd = std.fs.cwd();
    try cwd.writeFile(.{ .sub_path = args.next().?, .data = "written" });
    var text: [100]u8 = undefined;
    const read = try cwd.readFile(args.next().?, &text);
    var buf: [100]u8 = undefined;
    var out = std.fs.File.stdout().writer(&buf);
    try out.interface.print("{s}\n", .{read});
    try out.interface.flush();
    std.process.exit(8);
}
