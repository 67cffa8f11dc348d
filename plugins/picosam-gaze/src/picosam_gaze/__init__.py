"""Gaze as a ROI source of picosam_sdk: eye trackers, fixation filters, calibration."""
