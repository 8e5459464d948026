//go:build !amd64

package kernels

func available() []*Set { return nil }

func availablePixels() []*Pixels { return nil }
