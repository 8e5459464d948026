//go:build !unix

package graft

import "runtime"

// peakMemory returns the bytes that the process has taken from the system.
func peakMemory() float64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return float64(stats.Sys)
}
