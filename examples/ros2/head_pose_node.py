"""ROS 2 node: publishes the head pose of `trg live` as PoseStamped and as a transform.

trg live 0 --send udp+json://127.0.0.1:5005 --frame ros
python3 head_pose_node.py --ros-args -p camera_frame:=camera_link
"""

import json
import socket

import numpy as np
import rclpy
from geometry_msgs.msg import PoseStamped, TransformStamped
from rclpy.node import Node
from rclpy.time import Time
from scipy.spatial.transform import Rotation
from tf2_ros import TransformBroadcaster


class HeadPoseNode(Node):
    def __init__(self):
        super().__init__("head_pose")
        self.camera_frame = self.declare_parameter("camera_frame", "camera_link").value
        port = self.declare_parameter("port", 5005).value
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", port))
        self.socket.setblocking(False)
        self.poses = self.create_publisher(PoseStamped, "head_pose", 10)
        self.transforms = TransformBroadcaster(self)
        self.create_timer(0.005, self.receive)

    def receive(self):
        try:
            record = json.loads(self.socket.recv(65535))
        except BlockingIOError:
            return
        stamp = Time(nanoseconds=int(record["captured_unix_s"] * 1e9)).to_msg()
        for face in record["faces"]:
            if not face["live"]["is_seen"]:  # a pose that is held while the person is out of sight
                continue
            x, y, z = face["live"]["translation_m"]  # metres; x forward, y left, z up
            qx, qy, qz, qw = Rotation.from_matrix(np.array(face["live"]["rotation"])).as_quat()
            pose, transform = PoseStamped(), TransformStamped()
            for message in (pose, transform):
                message.header.stamp, message.header.frame_id = stamp, self.camera_frame
            transform.child_frame_id = f"head_{face['id']}"
            for place, turn in (
                (pose.pose.position, pose.pose.orientation),
                (transform.transform.translation, transform.transform.rotation),
            ):
                place.x, place.y, place.z = x, y, z
                turn.x, turn.y, turn.z, turn.w = qx, qy, qz, qw
            self.poses.publish(pose)
            self.transforms.sendTransform(transform)


rclpy.init()
rclpy.spin(HeadPoseNode())
