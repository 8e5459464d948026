package graft

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// memory returns the bytes of memory that the machine has, or the container if that is less.
func memory() uint64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return someMemory
	}
	total := uint64(info.Totalram) * uint64(info.Unit)
	text, _ := os.ReadFile("/sys/fs/cgroup/memory.max") // "max" where there is no limit
	if limit, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err == nil {
		total = min(total, limit)
	}
	return total
}
