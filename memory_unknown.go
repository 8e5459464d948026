//go:build !linux && !darwin

package graft

// memory returns the bytes of memory that a machine has at least that trains on many photos.
func memory() uint64 { return someMemory }
