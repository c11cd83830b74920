package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
)

func main() {
	dir := "."
	if len(os.Args) > 1 { dir = os.Args[1] }
	if err := os.MkdirAll(filepath.Join(dir, "a/b"), 0o755); err != nil { fmt.Println(err); os.Exit(2) }
	// More memory than the program starts with, while files are written.
	blocks := make([][]byte, 0)
	for i := 0; i < 64; i++ {
		b := make([]byte, 1<<20)
		for j := range b { b[j] = byte(i*31 + j) }
		blocks = append(blocks, b)
		name := filepath.Join(dir, "a/b", fmt.Sprintf("f%02d", i))
		if err := os.WriteFile(name, b[:1000+i], 0o644); err != nil { fmt.Println(err); os.Exit(3) }
	}
	for i, b := range blocks {
		for j := range b { if b[j] != byte(i*31 + j) { fmt.Println("memory was overwritten"); os.Exit(4) } }
	}
	entries, err := os.ReadDir(filepath.Join(dir, "a/b"))
	if err != nil { fmt.Println(err); os.Exit(5) }
	sizes := map[string]int64{}
	for _, e := range entries { info, err := e.Info(); if err != nil { fmt.Println(err); os.Exit(6) }; sizes[e.Name()] = info.Size() }
	names := make([]string, 0)
	for n := range sizes { names = append(names, n) }
	sort.Strings(names)
	fmt.Println(len(names), names[0], sizes[names[0]], names[63], sizes[names[63]])
	if err := os.Rename(filepath.Join(dir, "a/b/f00"), filepath.Join(dir, "a/g")); err != nil { fmt.Println(err); os.Exit(7) }
	data, err := os.ReadFile(filepath.Join(dir, "a/g"))
	fmt.Println(len(data), data[5], err)
	_, err = os.Stat(filepath.Join(dir, "a/b/f00"))
	fmt.Println(os.IsNotExist(err))
	os.Exit(9)
}
