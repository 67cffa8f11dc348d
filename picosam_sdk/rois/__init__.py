"""What says where to look: the ROI sources that come with the SDK."""
