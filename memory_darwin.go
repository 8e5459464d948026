package graft

import "golang.org/x/sys/unix"

// memory returns the bytes of memory that the machine has.
func memory() uint64 {
	total, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return someMemory
	}
	return total
}
