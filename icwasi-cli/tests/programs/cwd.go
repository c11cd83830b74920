package main

import (
	"fmt"
	"os"
)

// Writes to one path and prints what is at another.
func main() {
	if err := os.WriteFile(os.Args[1], []byte("written"), 0o644); err != nil { fmt.Println(err); os.Exit(1) }
	text, err := os.ReadFile(os.Args[2])
	if err != nil { fmt.Println(err); os.Exit(2) }
	here, err := os.Getwd()
	if err != nil { fmt.Println(err); os.Exit(3) }
	fmt.Fprintln(os.Stderr, here)
	fmt.Println(string(text))
	os.Exit(8)
}
