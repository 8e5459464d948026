//go:build unix

package graft

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// peakMemory returns the most bytes of memory that the process has had resident.
func peakMemory() float64 {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	if runtime.GOOS == "darwin" { // where it counts bytes, not KiB
		return float64(usage.Maxrss)
	}
	return float64(usage.Maxrss) * 1024
}
