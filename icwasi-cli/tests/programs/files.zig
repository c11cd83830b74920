const std = @import("std");
pub fn main() !void {
    const gpa = std.heap.wasm_allocator;
    var args = try std.process.argsWithAllocator(gpa);
    defer args.deinit();
    _ = args.next();
    const name = args.next() orelse ".";
    var dir = try std.fs.cwd().openDir(name, .{});
    defer dir.close();
    try dir.makePath("z/y");
    var blocks: [40][]u8 = undefined;
    for (&blocks, 0..) |*b, i| {
        b.* = try gpa.alloc(u8, 1 << 20);
        @memset(b.*, @intCast(i));
        var buf: [32]u8 = undefined;
        const f = try dir.createFile(try std.fmt.bufPrint(&buf, "z/y/f{d:0>2}", .{i}), .{});
        try f.writeAll(b.*[0 .. 100 + i]);
        f.close();
    }
    for (blocks, 0..) |b, i| for (b) |x| if (x != i) return error.Overwritten;
    var it_dir = try dir.openDir("z/y", .{ .iterate = true });
    defer it_dir.close();
    var it = it_dir.iterate();
    var n: u32 = 0;
    var sum: u64 = 0;
    while (try it.next()) |e| {
        n += 1;
        sum += (try it_dir.statFile(e.name)).size;
    }
    var buf: [100]u8 = undefined;
    var out = std.fs.File.stdout().writer(&buf);
    try out.interface.print("{d} files, {d} bytes\n", .{ n, sum });
    try out.interface.flush();
    std.process.exit(7);
}
